"""The clock groups that main holds: prepared, taken, restored, dropped.

Everything here blocks, for up to some 25 ms when a governor ends, and so runs in the
performer's threads, one operation per group at a time.
"""

from __future__ import annotations

import contextlib
import logging
import threading
from typing import TYPE_CHECKING

from orchestrator.errors import JournalError, NoCpufreqError, SysfsError
from orchestrator.power.drivers.registry import find_driver

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from orchestrator.errors import VmpowerError
    from orchestrator.power.drivers.contract import ScalingDriver
    from orchestrator.power.group import ClockGroup, PreparedGroup
    from orchestrator.power.journal import Journal, Replay
    from orchestrator.power.sysfs import CpuTree
    from orchestrator.power.topology import Topology


logger = logging.getLogger(__name__)


class HeldGroups:
    """Holds the descriptors and the journal of every group that is not idle.

    Which are held, and which of them taken, is a projection of main's `GroupStage`;
    see `controller.group_lifecycle`.

    Synchronization: any thread, but one call per group at a time; the journal, which
    all groups share, has a lock of its own.
    """

    def __init__(
        self, tree: CpuTree, journal: Journal, *, fallback_governor: str
    ) -> None:
        self.tree = tree
        self._journal = journal
        self._journal_lock = threading.Lock()
        self._fallback_governor = fallback_governor
        self._held: dict[int, PreparedGroup] = {}
        self._taken: set[int] = set()
        self._left_over: set[int] = set()

    def held(self, number: int) -> PreparedGroup | None:
        """Return a group's descriptors and originals, if it is held."""
        return self._held.get(number)

    def prepare(
        self, topology: Topology, numbers: Iterable[int]
    ) -> dict[int, VmpowerError]:
        """Journal groups' originals and open their descriptors; change nothing.

        Returns:
            Why groups could not be prepared: the kernel refused, the group is gone,
            or still waits for its last restoration, or its originals did not reach
            the disk.
        """
        refused: dict[int, VmpowerError] = {}
        prepared: dict[int, PreparedGroup] = {}
        for number in numbers:
            try:
                prepared[number] = self._prepare_one(topology, number)
            except (SysfsError, NoCpufreqError, JournalError) as error:
                refused[number] = error
        try:
            with self._journal_lock:
                self._journal.record(*prepared.values())
        except JournalError as error:
            for each in prepared.values():
                each.close()
            return refused | dict.fromkeys(prepared, error)
        self._held.update(prepared)
        return refused

    def _prepare_one(self, topology: Topology, number: int) -> PreparedGroup:
        group = topology.group(number)
        self.restore_left_over()
        if group is None or number in self._left_over:
            raise NoCpufreqError(f"policy{number} is gone, or not restored yet")
        return self._driver(group).prepare(self.tree, group)

    def renew(self, number: int) -> PreparedGroup | None:
        """Read a held group's originals anew, and journal them if they are others.

        An administrator may have changed them since the group was prepared.

        Returns:
            The group with its new originals; None: they are as they were, or what is
            there is ours.

        Raises:
            SysfsError: a file could not be read.
            JournalError: the new originals did not reach the disk.
        """
        prepared = self._held[number]
        if number in self._taken:
            return None
        renewed = self._driver(prepared.group).renew(self.tree, prepared)
        if renewed is not None:
            with self._journal_lock:
                self._journal.renew(renewed)
            self._held[number] = renewed
        return renewed

    def take(self, number: int) -> None:
        """Switch a held group's governor.

        Raises:
            SysfsError: the kernel refused; nothing changed.
        """
        prepared = self._held[number]
        self._taken.add(number)
        self._driver(prepared.group).take(prepared)

    def restore(self, number: int) -> None:
        """Give a taken group its originals back; it stays held.

        A group whose governor somebody has changed since is not ours any more, and
        stays as it is.

        Raises:
            SysfsError: the kernel refused one; the others are back, and the journal
                keeps them all until `restore_left_over` succeeds.
        """
        prepared = self._held[number]
        self._left_over.add(number)
        if prepared.is_ours():
            self._driver(prepared.group).restore(prepared)
        else:
            logger.warning("clock group %d: its governor was changed, it stays", number)
        self._left_over.discard(number)
        self._taken.discard(number)

    def replay(self) -> Replay:
        """Restore what an earlier run left behind; what is refused is left over.

        Raises:
            JournalError: the journal cannot be read or replaced.
        """
        with self._journal_lock:
            replay = self._journal.replay()
        self._left_over |= replay.kept.keys()
        return replay

    def restore_left_over(self) -> Mapping[int, str]:
        """Try again to restore what the kernel refused: CPUs were offline, mostly.

        Returns:
            What is refused still, by clock group, for people.

        Raises:
            JournalError: the journal cannot be read or replaced.
        """
        left = self._left_over - self._held.keys()
        if not left:
            return {}
        with self._journal_lock:
            replay = self._journal.replay(left)
            self._left_over -= {*replay.restored, *replay.left}
        return replay.kept

    def drop(self, numbers: Iterable[int]) -> None:
        """Close groups' descriptors, and forget originals that are back.

        Raises:
            JournalError: the journal could not be replaced.
        """
        dropped = [number for number in numbers if number in self._held]
        for number in dropped:
            self._held.pop(number).close()
        self._taken.difference_update(dropped)
        with self._journal_lock:
            self._journal.forget(*(n for n in dropped if n not in self._left_over))

    def restore_all(self) -> list[str]:
        """Restore every taken group and drop all; return what was refused, for people.

        A group that the kernel refused stays in the journal, for `vmpower restore`.
        """
        for number in sorted(self._taken):
            with contextlib.suppress(SysfsError):  # left over: tried once more below
                self.restore(number)
        try:
            self.drop(list(self._held))
            refused = self.restore_left_over()
        except JournalError as error:
            return [str(error)]
        return [f"clock group {number}: {why}" for number, why in refused.items()]

    def _driver(self, group: ClockGroup) -> ScalingDriver:
        return find_driver(group.driver, fallback_governor=self._fallback_governor)
