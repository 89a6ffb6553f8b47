# SPDX-License-Identifier: Apache-2.0
"""The clock groups that main holds: prepares, takes, restores and drops them.

All operations block, for up to some 25 ms when a governor is stopped. So they run in
the performer's threads, one per group at a time.
"""

from __future__ import annotations

import contextlib
import logging
import threading
from typing import TYPE_CHECKING

from orchestrator.errors import JournalError, NoCpufreqError, SysfsError
from orchestrator.power.kernel_limits import ATTRIBUTES
from orchestrator.power.mechanisms.registry import find_mechanism
from orchestrator.power.topology import read_current_khz

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from orchestrator.errors import VmpowerError
    from orchestrator.power.group import ClockGroup, PreparedGroup
    from orchestrator.power.journal import Journal
    from orchestrator.power.mechanisms.contract import Mechanism
    from orchestrator.power.replay import Replay
    from orchestrator.power.sysfs import CpuTree
    from orchestrator.power.topology import Topology


logger = logging.getLogger(__name__)


class HeldGroups:
    """Holds the descriptors and the journal entry of every group that is not idle.

    Which are held, and which of them taken, is a projection of main's `GroupStage`;
    see `controller.group_lifecycle`.

    Synchronization: any thread, but one call per group at a time; the journal, which
    all groups share, has its own lock.
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
        self._unrestored: set[int] = set()

    def held(self, number: int) -> PreparedGroup | None:
        """Return the descriptors and originals of a group, if it is held."""
        return self._held.get(number)

    def is_set_by_limits(self, number: int) -> bool:
        """Whether the frequency of a held group is set through its kernel limits."""
        prepared = self._held.get(number)
        if prepared is None:
            return False
        return not set(ATTRIBUTES).isdisjoint(prepared.writer.ATTRIBUTES)

    def prepare(
        self, topology: Topology, numbers: Iterable[int]
    ) -> dict[int, VmpowerError]:
        """Journal the originals of groups and open their descriptors; change nothing.

        Returns:
            The groups that could not be prepared, with the error: the kernel refused,
            the group does not exist any more or is not restored yet, or its originals
            could not be written to disk.
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
        self.retry_restoring()
        if group is None or number in self._unrestored:
            raise NoCpufreqError(
                f"policy{number} does not exist, or is not restored yet"
            )
        return self._mechanism(group).prepare(self.tree, group)

    def renew(self, number: int) -> PreparedGroup | None:
        """Read the originals of a held group again, and journal them if they changed.

        An administrator may have changed them since the group was prepared.

        Returns:
            The group with its new originals; None: they did not change, or the group
            is taken.

        Raises:
            SysfsError: a file could not be read.
            JournalError: the new originals could not be written to disk.
        """
        prepared = self._held[number]
        if number in self._taken:
            return None
        renewed = self._mechanism(prepared.group).renew(self.tree, prepared)
        if renewed is not None:
            with self._journal_lock:
                self._journal.renew(renewed)
            self._held[number] = renewed
        return renewed

    def take(self, number: int) -> None:
        """Switch a held group's governor, also if another program changed it.

        Raises:
            SysfsError: the kernel refused; nothing changed. The originals of a group
                that was taken already stay in the journal until `retry_restoring`
                succeeds.
            JournalError: its originals are not on disk any more; nothing changed.
        """
        prepared = self._held[number]
        with self._journal_lock:
            self._journal.confirm(number)
        was_taken = number in self._taken
        self._taken.add(number)
        try:
            self._mechanism(prepared.group).take(prepared)
        except SysfsError:
            if was_taken:
                self._unrestored.add(number)
            raise

    def find_drift(self, number: int, grant_khz: int | None) -> str | None:
        """Return what another program changed in a taken group; None: nothing.

        May be called beside other operations on the group; the result is then as good
        as a guess.

        Args:
            number: of the group.
            grant_khz: the last frequency that was set; None: not known.
        """
        prepared = self._held.get(number)
        if prepared is None or number not in self._taken:
            return None
        mechanism = self._mechanism(prepared.group)
        return mechanism.find_drift(self.tree, prepared, grant_khz)

    def current_khz(self, number: int) -> int | None:
        """Read the frequency at which a taken group runs; None: it cannot be read."""
        prepared = self._held.get(number)
        if prepared is None or number not in self._taken:
            return None
        return read_current_khz(self.tree, prepared.group)

    def is_replaced(self, number: int) -> bool:
        """Whether the kernel has replaced the scaling driver of a held group."""
        prepared = self._held.get(number)
        return prepared is not None and prepared.is_replaced()

    def restore(self, number: int) -> None:
        """Restore the originals of a taken group, which stays held.

        A group whose governor was changed by another program stays as it is, except
        for limits that are still ours; one whose scaling driver the kernel has replaced
        stays as it is.

        Raises:
            SysfsError: the kernel refused one; the others are restored, and the journal
                keeps all of them until `retry_restoring` succeeds.
        """
        prepared = self._held[number]
        self._unrestored.add(number)
        if prepared.is_replaced():
            logger.info("clock group %d: the kernel replaced its driver", number)
        elif prepared.is_still_taken():
            prepared.restore()
        else:
            logger.warning(
                "clock group %d: its governor was changed meanwhile, and stays", number
            )
            prepared.restore_limits()
        self._unrestored.discard(number)
        self._taken.discard(number)

    def replay(self) -> Replay[int]:
        """Restore the groups that a previous run left taken, as far as possible.

        Raises:
            JournalError: the journal cannot be read or replaced.
        """
        with self._journal_lock:
            replay = self._journal.replay()
        self._unrestored |= replay.kept.keys()
        return replay

    def is_unrestored(self, number: int) -> bool:
        """Whether the kernel has refused to restore a group, until now."""
        return number in self._unrestored

    def unpin(self, number: int) -> None:
        """Restore the limits of a taken group that is left to another program.

        Limits act under every governor, so they would hold that program, too.

        Raises:
            SysfsError: the kernel refused; `restore` tries again.
        """
        prepared = self._held.get(number)
        if prepared is not None and not prepared.is_still_taken():
            prepared.restore_limits()

    def retry_restoring(self) -> Mapping[int, str]:
        """Retry what the kernel refused to restore, usually because of offline CPUs.

        Returns:
            What is still refused, by clock group, for people.

        Raises:
            JournalError: the journal cannot be read or replaced.
        """
        left = self._unrestored - self._held.keys()
        if not left:
            return {}
        with self._journal_lock:
            replay = self._journal.replay(left)
            self._unrestored -= {*replay.restored, *replay.left}
        return replay.kept

    def drop(self, numbers: Iterable[int]) -> None:
        """Close the descriptors of groups, and forget restored originals.

        Raises:
            JournalError: the journal could not be replaced.
        """
        dropped = [number for number in numbers if number in self._held]
        for number in dropped:
            self._held.pop(number).close()
        self._taken.difference_update(dropped)
        with self._journal_lock:
            self._journal.forget(*(n for n in dropped if n not in self._unrestored))

    def restore_all(self) -> list[str]:
        """Restore every taken group and drop all groups.

        A group that the kernel refused to restore stays in the journal, for `vmpower
        restore`.

        Returns:
            What was refused, for people.
        """
        for number in sorted(self._taken):
            with contextlib.suppress(SysfsError):  # retried below
                self.restore(number)
        try:
            self.drop(list(self._held))
            refused = self.retry_restoring()
        except JournalError as error:
            return [str(error)]
        return [f"clock group {number}: {why}" for number, why in refused.items()]

    def _mechanism(self, group: ClockGroup) -> Mechanism:
        fallback = self._fallback_governor
        return find_mechanism(group.mechanism, fallback_governor=fallback)
