# SPDX-License-Identifier: Apache-2.0
"""All settings of the CPUs that main changes: governors, limits, other attributes.

Each has its journal in the run directory. Governors are restored first: limits and
attributes of a group that is still taken are those of its mechanism.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from orchestrator.power.attribute_journal import (
    ATTRIBUTE_JOURNAL_NAME,
    AttributeJournal,
)
from orchestrator.power.attribute_kinds import name_attributes
from orchestrator.power.held_attributes import HeldAttributes
from orchestrator.power.held_groups import HeldGroups
from orchestrator.power.held_limits import HeldLimits
from orchestrator.power.journal import JOURNAL_NAME, Journal
from orchestrator.power.limit_journal import LIMIT_JOURNAL_NAME, LimitJournal

if TYPE_CHECKING:
    from pathlib import Path

    from orchestrator.power.replay import Replay
    from orchestrator.power.sysfs import CpuTree

logger = logging.getLogger(__name__)


class HeldSettings:
    """What vmpowerd has changed in one CPU tree.

    Synchronization: as each of the parts.
    """

    def __init__(self, tree: CpuTree, run_dir: Path, *, fallback_governor: str) -> None:
        self.groups = HeldGroups(
            tree,
            Journal(run_dir / JOURNAL_NAME, tree),
            fallback_governor=fallback_governor,
        )
        self.limits = HeldLimits(tree, LimitJournal(run_dir / LIMIT_JOURNAL_NAME, tree))
        self.attributes = HeldAttributes(
            tree, AttributeJournal(run_dir / ATTRIBUTE_JOURNAL_NAME, tree)
        )

    def replay(self) -> None:
        """Restore what a previous run has left, and log what became of it.

        Raises:
            JournalError: a journal cannot be read or replaced.
        """
        groups = self.groups.replay()
        _log_groups(groups, "governor")
        for number in groups.kept:  # what is below is restored after them
            self.limits.suspend(number)
            self.attributes.suspend(number)
        _log_groups(self.limits.replay(), "limit")
        _log_attributes(self.attributes.replay())

    def restore_all(self) -> bool:
        """Restore everything, as far as possible, and log what was refused.

        Returns:
            Whether nothing stays journalled.
        """
        refused = self.groups.restore_all() + self.limits.restore_all()
        attributes = self.attributes.restore_all()
        for path, refusal in attributes.refused.items():
            logger.warning("not restored: %s: %s", name_attributes([path]), refusal)
        refused += [
            f"{name_attributes([path])}: {refusal}"
            for path, refusal in attributes.kept.items()
        ]
        for reason in refused:
            logger.error("not restored, try `vmpower restore`: %s", reason)
        return not refused


def _log_groups(replay: Replay[int], what: str) -> None:
    """Log what became of the settings that a previous run left.

    Args:
        replay: the result of replaying a journal.
        what: the setting.
    """
    if replay.restored:
        logger.warning(
            "restored clock groups left by a previous run groups=%s (%s)",
            ",".join(map(str, replay.restored)),
            what,
        )
    if replay.left:
        logger.info(
            "not restored: %s was changed since the previous run groups=%s",
            what,
            ",".join(map(str, replay.left)),
        )
    for number, refusal in replay.kept.items():
        logger.error("not restored group=%d (%s): %s", number, what, refusal)
    _log_aside(replay)


def _log_attributes(replay: Replay[str]) -> None:
    """Log what became of the attributes that a previous run left."""
    if replay.restored:
        names = name_attributes(replay.restored)
        logger.warning("restored settings left by a previous run: %s", names)
    if replay.left:
        names = name_attributes(replay.left)
        logger.info("not restored: changed since the previous run: %s", names)
    for path, refusal in {**replay.kept, **replay.refused}.items():
        logger.error("not restored: %s: %s", name_attributes([path]), refusal)
    _log_aside(replay)


def _log_aside(replay: Replay[int] | Replay[str]) -> None:
    if replay.set_aside:
        logger.warning("%s: set aside as %s", replay.reason, replay.set_aside)
