# SPDX-License-Identifier: Apache-2.0
"""acpi-cpufreq: the `userspace` governor and `scaling_setspeed`.

Source: drivers/cpufreq/{acpi-cpufreq,cpufreq_userspace,freq_table}.c of the kernel,
and lib/power/power_acpi_cpufreq.c of DPDK for the meaning of turbo.
"""

from __future__ import annotations

import contextlib
import dataclasses
import errno
import logging
import os
from typing import TYPE_CHECKING, ClassVar

from orchestrator.errors import NoCpufreqError, SysfsError
from orchestrator.limits import Limits, window_of
from orchestrator.power.attribute import (
    restore_attribute,
    restore_attributes,
    write_attribute,
)
from orchestrator.power.group import Original, PreparedGroup
from orchestrator.power.sysfs import first_line, policy_path
from orchestrator.values.frequencies import table_from
from orchestrator.values.units import format_khz

if TYPE_CHECKING:
    from orchestrator.power.group import ClockGroup
    from orchestrator.power.sysfs import CpuTree
    from orchestrator.values.frequencies import FrequencyTable

logger = logging.getLogger(__name__)

USERSPACE = "userspace"
_NO_USERSPACE = "load the governor: modprobe cpufreq_userspace"
_STEPS = "scaling_available_frequencies"
_GOVERNOR = "scaling_governor"
_CLOCK = "scaling_setspeed"


class AcpiCpufreq:
    """Sets frequencies through the `userspace` governor.

    Synchronization: none required; it keeps no state of a group.
    """

    ORIGINALS: ClassVar = frozenset({_CLOCK, _GOVERNOR})

    def __init__(self, *, fallback_governor: str | None = None) -> None:
        self._fallback_governor = fallback_governor

    def read_steps(self, tree: CpuTree, number: int) -> FrequencyTable:
        """Read the table of P-states.

        Raises:
            SysfsError: it cannot be read.
            NoCpufreqError: it has no frequency.
        """
        words = tree.read(policy_path(number, _STEPS)).split()
        try:
            return table_from(int(word) for word in words)
        except ValueError as error:
            raise NoCpufreqError(f"{_STEPS} of policy{number}: {error}") from error

    def prepare(self, tree: CpuTree, group: ClockGroup) -> PreparedGroup:
        """Read the originals, open and probe the descriptors; change nothing.

        scaling_setspeed is an original only if it reads as a number, which means that
        `userspace` is active already; otherwise it has no value to restore.

        Raises:
            SysfsError: a file could not be read, opened or written.
        """
        clock, governor = group.path(_CLOCK), group.path(_GOVERNOR)
        with contextlib.ExitStack() as opened:
            clock_fd = _open(tree, clock, opened)
            governor_fd = _open(tree, governor, opened)
            found = _read(tree, group, clock_fd, governor_fd)
            for fd, original in found:
                _probe(tree, fd, original.path, original.value)
            prepared = PreparedGroup(
                group=group,
                originals=tuple(self._choose(original) for _, original in found),
                clock_fd=clock_fd,
                original_fds=tuple(fd for fd, _ in found),
                root=str(tree.root),
            )
            opened.pop_all()
        self._warn(found[-1][1])
        return prepared

    def renew(self, tree: CpuTree, prepared: PreparedGroup) -> PreparedGroup | None:
        """Read the originals of a group again; it must not be taken.

        Raises:
            SysfsError: a file could not be read.
        """
        group, fds = prepared.group, prepared.original_fds
        found = _read(tree, group, prepared.clock_fd, fds[-1])
        originals = tuple(self._choose(original) for _, original in found)
        if originals == prepared.originals:
            return None
        governor = found[-1][1]
        self._warn(governor)
        return dataclasses.replace(
            prepared,
            group=dataclasses.replace(group, governor=first_line(governor.value)),
            originals=originals,
            original_fds=tuple(fd for fd, _ in found),
        )

    def take(self, prepared: PreparedGroup) -> None:
        """Switch to the `userspace` governor; idempotent.

        Raises:
            SysfsError: the kernel refused; EINVAL: no such governor.
        """
        try:
            fd = prepared.original_fds[-1]
            _write(prepared, fd, USERSPACE.encode(), _GOVERNOR)
        except SysfsError as error:
            if error.errno == errno.EINVAL:
                error.hint = _NO_USERSPACE
            raise

    def write_clock(self, prepared: PreparedGroup, khz: int) -> None:
        """Set the frequency of a taken group to one of its steps.

        Raises:
            SysfsError: the kernel refused; EBUSY: the CPUs are offline, EINVAL:
                `userspace` is not active.
        """
        _write(prepared, prepared.clock_fd, b"%d" % khz, _CLOCK)

    def find_drift(
        self, tree: CpuTree, prepared: PreparedGroup, grant_khz: int | None
    ) -> str | None:
        """Compare the governor and the frequency of a taken group with ours.

        With `userspace`, scaling_setspeed reads as the current frequency.
        """
        group = prepared.group
        if not prepared.is_still_taken():
            with contextlib.suppress(SysfsError):
                governor = first_line(
                    tree.read_fd(prepared.original_fds[-1], group.path(_GOVERNOR))
                )
                return f"the governor was changed to '{governor}'"
            return None
        try:
            word = first_line(tree.read_fd(prepared.clock_fd, group.path(_CLOCK)))
        except SysfsError:
            return None
        if grant_khz is None or not word.isdigit() or int(word) == grant_khz:
            return None
        ends = (group.path(f"scaling_{end}_freq") for end in ("min", "max"))
        limits = Limits.of(*map(tree.read_khz, ends))
        if int(word) == window_of(group.steps, limits).fit(grant_khz):
            return None
        return (
            f"the frequency was changed from {format_khz(grant_khz)} to"
            f" {format_khz(int(word))}"
        )

    def restore(self, prepared: PreparedGroup) -> None:
        """Restore the originals, as far as possible; idempotent.

        Raises:
            SysfsError: the kernel refused one; the others are restored.
        """
        fds = prepared.original_fds
        values = (original.value for original in prepared.originals)
        for fd, error in restore_attributes(zip(fds, values, strict=True)):
            path = prepared.full_path(prepared.originals[fds.index(fd)].path)
            raise SysfsError(path, error.errno or errno.EIO, "restore") from error

    def _choose(self, found: Original) -> Original:
        """Return what to restore for an attribute with this value."""
        chosen = self._fallback_governor or USERSPACE
        if not _is_userspace(found) or chosen == USERSPACE:
            return found
        return dataclasses.replace(found, value=chosen.encode() + b"\n")

    def _warn(self, governor: Original) -> None:
        if _is_userspace(governor):
            logger.warning(
                "clock group found in userspace without a journal path=%s"
                " governor_at_release=%s",
                governor.path,
                self._fallback_governor or USERSPACE,
            )


def _open(tree: CpuTree, path: str, opened: contextlib.ExitStack) -> int:
    fd = tree.open(path, writable=True)
    opened.callback(os.close, fd)
    return fd


def _read(
    tree: CpuTree, group: ClockGroup, clock_fd: int, governor_fd: int
) -> list[tuple[int, Original]]:
    clock, governor = group.path(_CLOCK), group.path(_GOVERNOR)
    value = tree.read_fd(governor_fd, governor)
    found = [
        (
            governor_fd,
            Original(path=governor, value=value, taken_value=USERSPACE.encode()),
        )
    ]
    setspeed = tree.read_fd(clock_fd, clock)
    if _is_number(setspeed):
        found.insert(0, (clock_fd, Original(path=clock, value=setspeed)))
    return found


def _is_userspace(original: Original) -> bool:
    return bool(original.taken_value) and first_line(original.value) == USERSPACE


def _is_number(value: bytes) -> bool:
    # "<unsupported>" unless the governor is userspace.
    return first_line(value).isdigit()


def _probe(tree: CpuTree, fd: int, path: str, value: bytes) -> None:
    # The kernel may permit opening a file and refuse writing it, as for cpuidle. It is
    # better to find out now than at the guest's first request.
    try:
        restore_attribute(fd, value)
    except OSError as error:
        full = str(tree.root / path)
        raise SysfsError(full, error.errno or errno.EIO, "write") from error


def _write(prepared: PreparedGroup, fd: int, value: bytes, name: str) -> None:
    try:
        write_attribute(fd, value)
    except OSError as error:
        path = prepared.full_path(prepared.group.path(name))
        raise SysfsError(path, error.errno or errno.EIO, "write") from error
