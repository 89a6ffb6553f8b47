# SPDX-License-Identifier: Apache-2.0
"""Holds clock groups within limits by the kernel's scaling_min_freq and _max_freq.

These limits hold whatever the governor is, so also while no guest requests anything.

Theory of operation: each operation reads first, decides (`limit_changes`) and writes
only what differs (`held_values`), so it can be repeated at any time.

The kernel keeps each write and shows the result of all of them, so the order matters
only before Linux 5.3, which refused a minimum above the maximum.
"""

from __future__ import annotations

import errno
import threading
import time
from typing import TYPE_CHECKING

from orchestrator.errors import SysfsError
from orchestrator.limits import NO_LIMITS, UNLIMITED_KHZ, Limits
from orchestrator.power.attribute import restore_attribute
from orchestrator.power.held_values import HeldValues
from orchestrator.power.kernel_limits import ATTRIBUTES, MAX, MIN, KernelLimits
from orchestrator.power.limit_changes import (
    Found,
    Plan,
    current_khz,
    is_ours,
    plan_max,
    plan_min,
    plan_new,
)
from orchestrator.power.replay import Replay
from orchestrator.power.sysfs import first_line, policy_number, policy_path
from orchestrator.power.turbo_switches import TurboSwitches

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from orchestrator.power.held_journal import HeldValue
    from orchestrator.power.limit_changes import LimitChange
    from orchestrator.power.limit_journal import LimitJournal
    from orchestrator.power.sysfs import CpuTree

_SETTLE_READS = 25
"""The kernel applies a new limit from a work queue, usually within 0.2 ms. Readings are
counted, because a deadline may pass on a busy machine without any."""
_SETTLE_STEP_S = 0.002


class HeldLimits:
    """Narrows the kernel's limits of clock groups, and restores them.

    Synchronization: any thread; calls exclude each other and block for milliseconds.
    """

    def __init__(self, tree: CpuTree, journal: LimitJournal) -> None:
        self._tree = tree
        self._values = HeldValues(tree, journal)
        self._lock = threading.Lock()
        self._wanted: dict[int, Limits] = {}
        self._turbo_switches = TurboSwitches(tree)
        self._latest: dict[int, KernelLimits] = {}
        self._suspended: dict[int, KernelLimits] = {}
        """The limits of groups that are left alone, as they were before."""

    def replay(self) -> Replay[int]:
        """Restore the limits that a previous run has left, as far as possible.

        A limit that another program has changed since stays as it is. Those that the
        kernel refuses are retried by each `refresh`.

        Raises:
            JournalError: the journal cannot be read or replaced.
        """
        with self._lock:
            aside = self._values.load()
            before = self._held_groups()
            ours = {number for number in before if self._is_ours(number)}
            self._reconcile(before)
            kept = self._held_groups()
            over = [number for number in before if number not in kept]
            return Replay(
                restored=tuple(number for number in over if number in ours),
                left=tuple(number for number in over if number not in ours),
                kept={number: self._problem_of(number) for number in kept},
                set_aside=aside.set_aside,
                reason=aside.reason,
            )

    def hold(self, wanted: Mapping[int, Limits]) -> Mapping[int, KernelLimits]:
        """Keep clock groups within limits from now on.

        Args:
            wanted: by clock group; `NO_LIMITS` restores the originals.

        Returns:
            The limits of these groups, as far as they have changed.
        """
        with self._lock:
            for number, limits in wanted.items():
                if limits == NO_LIMITS:
                    self._wanted.pop(number, None)
                else:
                    self._wanted[number] = limits
            return self._reconcile(wanted)

    def refresh(
        self, numbers: Iterable[int], *, is_complete: bool = False
    ) -> Mapping[int, KernelLimits]:
        """Read the kernel's limits, and hold the wanted ones again if necessary.

        This takes two reads for each group, four for one whose limits are held.

        Args:
            numbers: clock groups, besides those whose limits are held.
            is_complete: whether to return limits that have not changed, too.

        Returns:
            The limits that have changed since they were last returned.
        """
        with self._lock:
            if is_complete:
                self._latest.clear()
            return self._reconcile({*numbers, *self._held_groups()})

    def suspend(self, number: int) -> Mapping[int, KernelLimits]:
        """Leave the limits of a clock group alone until `resume`; idempotent.

        For a group whose frequency is set through its limits: what they are then is no
        limit of others, and every frequency that is set is within the wanted ones.

        Returns:
            The limits of this group, if they have changed.
        """
        with self._lock:
            if number in self._suspended:
                return {}
            changed = self._reconcile([number])
            self._suspended[number] = self._latest[number]
            return changed

    def suspended(self) -> frozenset[int]:
        """Return the clock groups that are left alone."""
        return frozenset(self._suspended)

    def resume(self, number: int) -> Mapping[int, KernelLimits]:
        """Read and hold the limits of a suspended group again; idempotent.

        Returns:
            The limits of this group, if they have changed.
        """
        with self._lock:
            if self._suspended.pop(number, None) is None:
                return {}
            return self._reconcile([number])

    def restore_all(self) -> list[str]:
        """Restore every original; what is refused stays journalled.

        Returns:
            What was refused, for people.
        """
        with self._lock:
            self._wanted.clear()
            self._suspended.clear()
            self._reconcile(self._held_groups())
            return [
                f"limits of clock group {number}: {self._problem_of(number)}"
                for number in self._held_groups()
            ]

    def _held_groups(self) -> list[int]:
        return sorted(set(map(policy_number, self._values.paths())))

    def _held_of(self, number: int, name: str) -> HeldValue | None:
        return self._values.get(policy_path(number, name))

    def _problem_of(self, number: int) -> str:
        latest = self._latest.get(number)
        return (latest.problem if latest else "") or "its CPUs are offline"

    def _is_ours(self, number: int) -> bool:
        """Whether an attribute of a group still has a value that vmpowerd wrote."""
        held = {name: self._held_of(number, name) for name in ATTRIBUTES}
        try:
            return any(
                is_ours(self._read(number, name), value)
                for name, value in held.items()
                if value is not None
            )
        except SysfsError:
            return True

    # Reading and deciding

    def _read(self, number: int, name: str) -> Found:
        path = policy_path(number, name)
        value = self._tree.read_bytes(path)
        word = first_line(value)
        if not (word.isascii() and word.isdigit()):
            raise SysfsError(str(self._tree.root / path), errno.EILSEQ, "parse")
        return Found(path, value, int(word))

    def _plan(self, number: int) -> tuple[Limits, list[LimitChange]]:
        """Read a group's limits and decide what to write.

        Returns:
            The limits of the others, and the changes in the order of writing.

        Raises:
            SysfsError: an attribute cannot be read; EBUSY: the CPUs are offline.
        """
        wanted = self._wanted.get(number, NO_LIMITS)
        high, low = self._read(number, MAX), self._read(number, MIN)
        top = self._plan_max(number, high, wanted.max_khz)
        written_khz = top.written_khz
        ceiling_khz = high.khz if written_khz is None else written_khz
        min_khz = min(wanted.min_khz, ceiling_khz)
        bottom = plan_min(low, self._values.get(low.path), min_khz, high.khz)
        plans = (bottom, top) if ceiling_khz < high.khz else (top, bottom)
        changes = [plan.change for plan in plans if plan.change is not None]
        return Limits(bottom.others_khz, top.others_khz), changes

    def _plan_max(self, number: int, found: Found, wanted_khz: int) -> Plan:
        held = self._values.get(found.path)
        if held is not None:
            return plan_max(found, held, wanted_khz, self._read_bios_khz(number))
        if wanted_khz >= found.khz:
            return Plan(found.khz)
        original = self._unlimited(number, found)
        return Plan(found.khz, plan_new(original, wanted_khz))

    def _read_bios_khz(self, number: int) -> int | None:
        return self._tree.read_khz(policy_path(number, "bios_limit"))

    def _unlimited(self, number: int, found: Found) -> Found:
        """Return a maximum that the firmware limits now as it is without that.

        The kernel does not show the value that the firmware's limit hides; the
        hardware's maximum is the likely one.
        """
        if found.khz != self._read_bios_khz(number):
            return found
        highest = self._read(number, "cpuinfo_max_freq")
        return highest._replace(path=found.path)

    # Writing

    def _reconcile(self, numbers: Iterable[int]) -> dict[int, KernelLimits]:
        off_for_all = self._turbo_switches.find_for_all()
        plans: dict[int, list[LimitChange]] = {}
        read: dict[int, KernelLimits] = {}
        for number in numbers:
            if number in self._suspended:
                found = self._suspended[number]
            else:
                try:
                    limits, plans[number] = self._plan(number)
                except SysfsError as error:
                    read[number] = self._unreadable(number, error)
                    continue
                found = KernelLimits(limits)
            off = self._turbo_switches.find(number, off_for_all)
            read[number] = found._replace(turbo_switch=off)
        for number, problem in self._apply(plans).items():
            read[number] = read[number]._replace(problem=problem)
        self._values.save()
        return self._note(read)

    def _unreadable(self, number: int, error: SysfsError) -> KernelLimits:
        known = self._latest.get(number, KernelLimits())
        # Offline CPUs have no frequency to limit; they are read again when they return.
        is_held = any(self._held_of(number, name) is not None for name in ATTRIBUTES)
        is_concerned = number in self._wanted or is_held
        is_needed = is_concerned and error.errno != errno.EBUSY
        return known._replace(problem=str(error) if is_needed else "")

    def _apply(self, plans: Mapping[int, list[LimitChange]]) -> dict[int, str]:
        """Write what is due; return what was refused of each group, as text."""
        changes = [change for due in plans.values() for change in due]
        refused = self._values.apply([change.write for change in changes])
        self._settle(
            change
            for change in changes
            if change.write.value is None and change.write.path not in refused
        )
        problems: dict[int, str] = {}
        for number, due in plans.items():
            paths = [change.write.path for change in due]
            # Without a journal, the reason is the same for each attribute.
            answers = dict.fromkeys(str(refused[it]) for it in paths if it in refused)
            problems[number] = "; ".join(answers)
        return problems

    def _settle(self, released: Iterable[LimitChange]) -> None:
        """Wait until the kernel shows the originals that were written.

        Otherwise the next operation could take a value of ours for another program's.
        Where another program had narrowed the limit, its value is written again, unless
        it is a cooling device's: that stays in force whatever is written.
        """
        waiting = list(released)
        for _ in range(_SETTLE_READS):
            waiting = [change for change in waiting if not self._is_settled(change)]
            if not waiting:
                break
            time.sleep(_SETTLE_STEP_S)

    def _is_settled(self, change: LimitChange) -> bool:
        path, held, _value = change.write
        try:
            found = self._tree.read_bytes(path)
            if change.foreign is None:
                return found == held.original
            if found == change.foreign:
                return False
            self._tree.write(path, change.foreign, restore_attribute)
        except SysfsError:  # its CPUs went offline
            return True
        return True

    def _note(self, read: Mapping[int, KernelLimits]) -> dict[int, KernelLimits]:
        """Remember what was read; return what is new."""
        changed = {}
        for number, limits in read.items():
            high, low = self._held_of(number, MAX), self._held_of(number, MIN)
            now = limits._replace(
                held=Limits(
                    current_khz(low) if low else 0,
                    current_khz(high) if high else UNLIMITED_KHZ,
                )
            )
            if self._latest.get(number) != now:
                self._latest[number] = changed[number] = now
        return changed
