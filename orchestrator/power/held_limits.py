# SPDX-License-Identifier: Apache-2.0
"""Holds clock groups within limits by the kernel's scaling_min_freq and _max_freq.

These limits hold whatever the governor is, so also while no guest requests anything.

Theory of operation: the kernel shows one value of each attribute: what was written
last, narrowed further by the firmware (bios_limit), by a cooling device, or because
boost was switched off. What vmpowerd wrote is remembered, so that a value read is one
of three:

* one of ours: the limit of the others is the original;
* wider than ours: another program wrote it. It is the new original, and ours is
  written again;
* narrower than ours: another program or a cooling device. It is left as it is, and is
  the limit of the others until it ends.

Each operation reads first and writes only what differs, so it can be repeated at any
time; a write that was refused is retried by the next one. Originals are journalled
before the first write, and every value before it is written.

The kernel keeps each write and shows the result of all of them, so the order matters
only before Linux 5.3, which refused a minimum above the maximum.

Source: drivers/cpufreq/cpufreq.c of the kernel (store_one, cpufreq_set_policy),
drivers/acpi/processor_perflib.c (bios_limit), drivers/cpufreq/acpi-cpufreq.c (boost).
"""

from __future__ import annotations

import contextlib
import errno
import threading
import time
from typing import TYPE_CHECKING, NamedTuple

from orchestrator.errors import JournalError, SysfsError
from orchestrator.limits import NO_LIMITS, UNLIMITED_KHZ, Limits
from orchestrator.power.attribute import restore_attribute, write_attribute
from orchestrator.power.journal import Replay
from orchestrator.power.kernel_limits import MAX, MIN, KernelLimits
from orchestrator.power.limit_journal import HeldLimit
from orchestrator.power.sysfs import first_line, policy_path
from orchestrator.power.turbo_switches import TurboSwitches

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from orchestrator.power.limit_journal import HeldByName, LimitJournal
    from orchestrator.power.sysfs import CpuTree

_SETTLE_S = 0.05
"""The kernel applies a new limit from a work queue, usually within 0.2 ms."""
_SETTLE_STEP_S = 0.002


class _Found(NamedTuple):
    """An attribute as it was read."""

    value: bytes
    khz: int


class _Change(NamedTuple):
    """What is to be done about one attribute."""

    name: str
    journalled: HeldLimit | None
    """What the journal must have before the write."""
    value: bytes
    """To be written."""
    after: HeldLimit | None
    """What is held after the write."""
    foreign: bytes | None = None
    """Another program's value, to be written again if the write has changed it."""


class HeldLimits:
    """Narrows the kernel's limits of clock groups, and restores them.

    Synchronization: any thread; calls exclude each other and block for milliseconds.
    """

    def __init__(self, tree: CpuTree, journal: LimitJournal) -> None:
        self._tree = tree
        self._journal = journal
        self._lock = threading.Lock()
        self._wanted: dict[int, Limits] = {}
        self._held: dict[int, HeldByName] = {}
        self._journalled: dict[int, HeldByName] = {}
        """What the journal has: at least everything that is held."""
        self._turbo_switches = TurboSwitches(tree)
        self._latest: dict[int, KernelLimits] = {}
        self._suspended: dict[int, KernelLimits] = {}
        """The limits of groups that are left alone, as they were before."""

    def replay(self) -> Replay:
        """Restore the limits that a previous run has left, as far as possible.

        A limit that another program has changed since stays as it is. Those that the
        kernel refuses are retried by each `refresh`.

        Raises:
            JournalError: the journal cannot be read or replaced.
        """
        with self._lock:
            self._held, unusable = self._journal.load()
            self._journalled = _copy(self._held)
            numbers = sorted(self._held)
            ours = {number for number in numbers if self._is_ours(number)}
            self._reconcile(numbers)
            return Replay(
                restored=tuple(n for n in numbers if n not in self._held and n in ours),
                left=tuple(n for n in numbers if n not in self._held and n not in ours),
                kept={n: self._problem_of(n) for n in numbers if n in self._held},
                set_aside=unusable.set_aside,
                reason=unusable.reason,
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
            return self._reconcile({*numbers, *self._held})

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
            self._reconcile(list(self._held))
            return [
                f"limits of clock group {number}: {self._problem_of(number)}"
                for number in sorted(self._held)
            ]

    def _problem_of(self, number: int) -> str:
        latest = self._latest.get(number)
        return (latest.problem if latest else "") or "its CPUs are offline"

    def _is_ours(self, number: int) -> bool:
        """Whether an attribute of a group still has a value that vmpowerd wrote."""
        try:
            return any(
                self._read(number, name).khz in limit.ours_khz
                for name, limit in self._held[number].items()
            )
        except SysfsError:
            return True

    # Reading

    def _read(self, number: int, name: str) -> _Found:
        path = policy_path(number, name)
        value = self._tree.read_bytes(path)
        word = first_line(value)
        if not (word.isascii() and word.isdigit()):
            raise SysfsError(str(self._tree.root / path), errno.EILSEQ, "parse")
        return _Found(value, int(word))

    # Deciding

    def _plan(self, number: int) -> tuple[Limits, list[_Change]]:
        """Read a group's limits and decide what to write.

        Returns:
            The limits of the others, and the changes in the order of writing.

        Raises:
            SysfsError: an attribute cannot be read; EBUSY: the CPUs are offline.
        """
        held = self._held.get(number, {})
        wanted = self._wanted.get(number, NO_LIMITS)
        high, low = self._read(number, MAX), self._read(number, MIN)
        max_khz, top = self._plan_max(number, high, held.get(MAX), wanted.max_khz)
        ceiling_khz = high.khz if top is None else _khz(top.value)
        min_khz, bottom = _plan_min(
            low, held.get(MIN), min(wanted.min_khz, ceiling_khz), max_read_khz=high.khz
        )
        changes = [change for change in (top, bottom) if change is not None]
        if ceiling_khz < high.khz:
            changes.reverse()
        return Limits(min_khz, max_khz), changes

    def _plan_max(
        self, number: int, found: _Found, held: HeldLimit | None, wanted_khz: int
    ) -> tuple[int, _Change | None]:
        if held is None:
            if wanted_khz >= found.khz:
                return found.khz, None
            original = self._unlimited(number, found)
            return found.khz, _hold(MAX, original, None, wanted_khz)
        bios_khz = self._read_bios_khz(number)
        original_khz = min(_khz(held.original), bios_khz or UNLIMITED_KHZ)
        ours_khz = held.ours_khz[-1]
        if found.khz in held.ours_khz or found.khz == bios_khz:
            is_hidden = found.khz == bios_khz and found.khz < ours_khz
            seen = ours_khz if is_hidden else found.khz
            return original_khz, _adjust(
                MAX, seen, held, min(_khz(held.original), wanted_khz)
            )
        if found.khz > ours_khz:
            held = held._replace(original=found.value)
            target_khz = min(found.khz, wanted_khz)
            return found.khz, _adjust(MAX, found.khz, held, target_khz)
        if wanted_khz >= _khz(held.original):
            return found.khz, _release(MAX, held, foreign=found.value)
        if wanted_khz < found.khz:
            return found.khz, _hold(MAX, found, held, wanted_khz)
        return found.khz, None

    def _read_bios_khz(self, number: int) -> int | None:
        return self._tree.read_khz(policy_path(number, "bios_limit"))

    def _unlimited(self, number: int, found: _Found) -> _Found:
        """Return a maximum that the firmware limits now as it is without that.

        The kernel does not show the value that the firmware's limit hides; the
        hardware's maximum is the likely one.
        """
        if found.khz != self._read_bios_khz(number):
            return found
        return self._read(number, "cpuinfo_max_freq")

    # Writing

    def _reconcile(self, numbers: Iterable[int]) -> dict[int, KernelLimits]:
        off_for_all = self._turbo_switches.find_for_all()
        plans: dict[int, list[_Change]] = {}
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
        problem = self._journal_first(plans)
        released: list[tuple[int, _Change]] = []
        for number, changes in plans.items():
            permitted = [c for c in changes if not (problem and c.journalled)]
            refused = self._write(number, permitted, released)
            if len(permitted) < len(changes):
                refused = problem
            read[number] = read[number]._replace(problem=refused)
        self._settle(released)
        with contextlib.suppress(JournalError):  # retried by the next operation
            self._store(self._held)
        return self._note(read)

    def _unreadable(self, number: int, error: SysfsError) -> KernelLimits:
        known = self._latest.get(number, KernelLimits())
        # Offline CPUs have no frequency to limit; they are read again when they return.
        is_concerned = number in self._wanted or number in self._held
        is_needed = is_concerned and error.errno != errno.EBUSY
        return known._replace(problem=str(error) if is_needed else "")

    def _journal_first(self, plans: Mapping[int, list[_Change]]) -> str:
        """Journal what is about to be written; return why that failed, as text."""
        after = _copy(self._held)
        for number, changes in plans.items():
            for change in changes:
                if change.journalled is not None:
                    after.setdefault(number, {})[change.name] = change.journalled
        try:
            self._store(after)
        except JournalError as error:
            return str(error)
        self._held = after
        return ""

    def _store(self, held: dict[int, HeldByName]) -> None:
        is_lost = bool(held) and not self._journal.is_on_disk()
        if held != self._journalled or is_lost:
            self._journal.write(held)
            self._journalled = _copy(held)

    def _write(
        self,
        number: int,
        changes: Iterable[_Change],
        released: list[tuple[int, _Change]],
    ) -> str:
        """Write a group's attributes; return what was refused, as text.

        Args:
            number: of the group.
            changes: in the order of writing.
            released: receives the originals that were written.
        """
        refused = []
        for change in changes:
            try:
                self._write_one(number, change)
            except SysfsError as error:
                refused.append(str(error))
                continue
            by_name = self._held.setdefault(number, {})
            by_name.pop(change.name, None)
            if change.after is not None:
                by_name[change.name] = change.after
            else:
                released.append((number, change))
            if not by_name:
                del self._held[number]
        return "; ".join(refused)

    def _write_one(self, number: int, change: _Change) -> None:
        write = restore_attribute if change.after is None else write_attribute
        path = policy_path(number, change.name)
        self._tree.write(path, change.value, write)

    def _settle(self, released: Iterable[tuple[int, _Change]]) -> None:
        """Wait until the kernel shows the originals that were written.

        Otherwise the next operation could take a value of ours for another program's.
        Where another program had narrowed the limit, its value is written again, unless
        it is a cooling device's: that stays in force whatever is written.
        """
        deadline = time.monotonic() + _SETTLE_S
        waiting = list(released)
        while waiting and time.monotonic() < deadline:
            waiting = [
                (n, change) for n, change in waiting if not self._is_settled(n, change)
            ]
            if waiting:
                time.sleep(_SETTLE_STEP_S)

    def _is_settled(self, number: int, change: _Change) -> bool:
        try:
            found = self._read(number, change.name).value
            if change.foreign is None:
                return found == change.value
            if found == change.foreign:
                return False
            self._write_one(number, change._replace(value=change.foreign))
        except SysfsError:  # its CPUs went offline
            return True
        return True

    def _note(self, read: Mapping[int, KernelLimits]) -> dict[int, KernelLimits]:
        """Remember what was read; return what is new."""
        changed = {}
        for number, limits in read.items():
            held = self._held.get(number, {})
            high, low = held.get(MAX), held.get(MIN)
            now = limits._replace(
                held=Limits(
                    low.ours_khz[-1] if low else 0,
                    high.ours_khz[-1] if high else UNLIMITED_KHZ,
                )
            )
            if self._latest.get(number) != now:
                self._latest[number] = changed[number] = now
        return changed


def _plan_min(
    found: _Found, held: HeldLimit | None, wanted_khz: int, *, max_read_khz: int
) -> tuple[int, _Change | None]:
    if held is None:
        return found.khz, _hold(MIN, found, None, max(found.khz, wanted_khz))
    original_khz, ours_khz = _khz(held.original), held.ours_khz[-1]
    # The kernel shows a minimum above the maximum as the maximum.
    is_hidden = found.khz == max_read_khz and found.khz < ours_khz
    if found.khz in held.ours_khz or is_hidden:
        seen = ours_khz if is_hidden else found.khz
        return original_khz, _adjust(MIN, seen, held, max(original_khz, wanted_khz))
    if found.khz < ours_khz:
        held = held._replace(original=found.value)
        return found.khz, _adjust(MIN, found.khz, held, max(found.khz, wanted_khz))
    if wanted_khz <= original_khz:
        return found.khz, _release(MIN, held, foreign=found.value)
    if wanted_khz > found.khz:
        return found.khz, _hold(MIN, found, held, wanted_khz)
    return found.khz, None


def _hold(
    name: str, found: _Found, held: HeldLimit | None, target_khz: int
) -> _Change | None:
    """Write a limit over the value of another program, which is the original."""
    if target_khz == found.khz:
        return None
    ours_khz = held.ours_khz if held else ()
    return _write_of(name, HeldLimit(found.value, ours_khz), target_khz)


def _adjust(
    name: str, seen_khz: int, held: HeldLimit, target_khz: int
) -> _Change | None:
    """Write another value of our own, or the original."""
    if target_khz == _khz(held.original):
        return _release(name, held)
    if target_khz == seen_khz:
        return None
    return _write_of(name, held, target_khz)


def _write_of(name: str, held: HeldLimit, khz: int) -> _Change:
    ours_khz = (*(old for old in held.ours_khz if old != khz), khz)
    limit = held._replace(ours_khz=ours_khz)
    return _Change(name, limit, b"%d" % khz, limit)


def _release(name: str, held: HeldLimit, *, foreign: bytes | None = None) -> _Change:
    # Also if the original is read: the kernel may show it although it was overwritten.
    return _Change(name, None, held.original, None, foreign)


def _khz(value: bytes) -> int:
    return int(first_line(value))


def _copy(held: Mapping[int, HeldByName]) -> dict[int, HeldByName]:
    return {number: dict(by_name) for number, by_name in held.items()}
