# SPDX-License-Identifier: Apache-2.0
"""The journal of the kernel's limits that vmpowerd has narrowed.

Its format is that of the restore journal, in a file of its own, because limits live
longer than a taken governor: from the start of a domain to its end. An attribute has
one entry for each value that vmpowerd may have written to it, so that after a crash at
any point its own values are recognized. Restoring them is up to `held_limits`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from orchestrator.power.group import Original
from orchestrator.power.journal import Journal, Replay
from orchestrator.power.journal_document import is_attribute_of
from orchestrator.power.kernel_limits import ATTRIBUTES
from orchestrator.power.sysfs import policy_path

if TYPE_CHECKING:
    from collections.abc import Mapping

LIMIT_JOURNAL_NAME = "limits.json"
"""File name in a daemon's run directory, beside the restore journal."""


class HeldLimit(NamedTuple):
    """An attribute that vmpowerd has narrowed."""

    original: bytes
    """All bytes of it before vmpowerd wrote it, or that another program wrote since."""
    ours_khz: tuple[int, ...]
    """What vmpowerd may have written, the current value last."""


HeldByName = dict[str, HeldLimit]
"""By name of the attribute."""


class LimitJournal(Journal):
    """The journal of narrowed limits; see `Journal` for synchronization."""

    def _is_permitted(self, number: int, path: str) -> bool:
        return is_attribute_of(number, path, ATTRIBUTES)

    def load(self) -> tuple[dict[int, HeldByName], Replay]:
        """Read what a previous run has left, by clock group.

        A journal that cannot be used, of another boot or tree, is set aside.

        Raises:
            JournalError: it cannot be read.
        """
        # Replaying none of the groups sets an unusable journal aside, nothing else.
        replay = self.replay(only=())
        if replay.set_aside:
            return {}, replay
        try:
            return {
                number: _decode(number, originals)
                for number, originals in self.read().items()
                if not self._is_replaced(number)
            }, replay
        except ValueError as error:
            return {}, self._set_aside("unreadable", f"invalid limit journal: {error}")

    def write(self, held: Mapping[int, HeldByName]) -> None:
        """Replace the journal, and return when it is on disk.

        Raises:
            JournalError: it is not; no limit may be narrowed.
        """
        self._store(
            {
                number: tuple(
                    Original(
                        path=policy_path(number, name),
                        value=limit.original,
                        taken_value=b"%d" % khz,
                    )
                    for name, limit in by_name.items()
                    for khz in limit.ours_khz
                )
                for number, by_name in held.items()
                if by_name
            }
        )


def _decode(number: int, originals: tuple[Original, ...]) -> HeldByName:
    held: HeldByName = {}
    for name in ATTRIBUTES:
        path = policy_path(number, name)
        own = [original for original in originals if original.path == path]
        if own:
            values = tuple(int(original.taken_value) for original in own)
            held[name] = HeldLimit(own[0].value, values)
    return held
