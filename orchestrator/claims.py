"""The clock groups that main holds: prepared, taken, restored, dropped.

Everything here blocks, for up to some 25 ms when a governor ends, and so runs in the
performer's threads, one operation per group at a time.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from orchestrator.errors import JournalError, NoCpufreqError, SysfsError
from orchestrator.power.backend import detect

if TYPE_CHECKING:
    from orchestrator.errors import VmpowerError
    from orchestrator.power.backend import Backend
    from orchestrator.power.journal import Journal
    from orchestrator.power.prepared import PreparedGroup
    from orchestrator.power.sysfs import CpuTree
    from orchestrator.power.topology import ClockGroup, Topology


class Claims:
    """Holds the descriptors and the journal of every group that is not idle.

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
        self._left_over: set[int] = set()

    def held(self, number: int) -> PreparedGroup | None:
        """Return a group's descriptors and originals, if it is held."""
        return self._held.get(number)

    def prepare(self, topology: Topology, number: int) -> None:
        """Journal a group's originals and open its descriptors; change nothing.

        Raises:
            SysfsError: the kernel refused.
            NoCpufreqError: the group is gone or its driver unknown, or it still
                waits for its last restoration.
            JournalError: the originals are not on disk, so nothing may be taken.
        """
        group = topology.group(number)
        self.restore_left_over()
        if group is None or number in self._left_over:
            raise NoCpufreqError(f"policy{number} is gone, or not restored yet")
        prepared = self._backend(group).prepare(self.tree, group)
        try:
            with self._journal_lock:
                self._journal.record(prepared)
        except BaseException:
            prepared.close()
            raise
        self._held[number] = prepared

    def take(self, number: int) -> None:
        """Switch a held group's governor; undone if the kernel stops half way.

        Raises:
            SysfsError: the kernel refused.
        """
        prepared = self._held[number]
        self._backend(prepared.group).take(prepared)

    def restore(self, number: int) -> None:
        """Give a held group its originals back; it stays held.

        Raises:
            SysfsError: the kernel refused one; the others are back, and the journal
                keeps them all until `restore_left_over` succeeds.
        """
        prepared = self._held[number]
        self._left_over.add(number)
        self._backend(prepared.group).restore(prepared)
        self._left_over.discard(number)

    def restore_left_over(self) -> None:
        """Try again to restore what the kernel refused: CPUs were offline, mostly.

        Raises:
            JournalError: the journal cannot be read or replaced.
        """
        left = self._left_over - self._held.keys()
        if left:
            with self._journal_lock:
                self._left_over -= set(self._journal.replay(left).restored)

    def drop(self, number: int) -> None:
        """Close a group's descriptors, and forget its originals if they are back.

        Raises:
            JournalError: the journal could not be replaced.
        """
        prepared = self._held.pop(number, None)
        if prepared is None:
            return
        prepared.close()
        if number not in self._left_over:
            with self._journal_lock:
                self._journal.forget(number)

    def restore_all(self) -> list[VmpowerError]:
        """Restore and drop every group; return what was refused.

        A group that the kernel refused stays in the journal, for `vmpower restore`.
        """
        refused: list[VmpowerError] = []
        for number in list(self._held):
            for step in (self.restore, self.drop):
                try:
                    step(number)
                except (SysfsError, JournalError) as error:
                    refused.append(error)
        return refused

    def _backend(self, group: ClockGroup) -> Backend:
        return detect(group.driver, fallback_governor=self._fallback_governor)
