# SPDX-License-Identifier: Apache-2.0
"""The governor `userspace` and `scaling_setspeed`.

For acpi-cpufreq, amd-pstate in the modes passive and guided, intel_cpufreq,
cppc_cpufreq, and every other driver that lets a governor choose frequencies.

Source: drivers/cpufreq/{cpufreq_userspace,freq_table}.c of the kernel.
"""

from __future__ import annotations

import contextlib
import dataclasses
import logging
from typing import TYPE_CHECKING, ClassVar

from orchestrator.errors import SysfsError
from orchestrator.limits import Limits, window_of
from orchestrator.power.group import Original, PreparedGroup
from orchestrator.power.mechanisms.opening import (
    GOVERNOR,
    open_attribute,
    probe,
    read_original,
    switch_governor,
)
from orchestrator.power.steps import STEP_KHZ
from orchestrator.power.sysfs import first_line
from orchestrator.power.writer import SetspeedWriter
from orchestrator.values.units import format_khz

if TYPE_CHECKING:
    from orchestrator.power.group import ClockGroup
    from orchestrator.power.sysfs import CpuTree
    from orchestrator.values.frequencies import FrequencyTable

logger = logging.getLogger(__name__)

USERSPACE = "userspace"
_NO_USERSPACE = "load the governor: modprobe cpufreq_userspace"
(_SETSPEED,) = SetspeedWriter.ATTRIBUTES


class SetspeedMechanism:
    """Sets frequencies through the `userspace` governor.

    Synchronization: none required; it keeps no state of a group.
    """

    TAKEN_GOVERNOR: ClassVar = USERSPACE
    ORIGINALS: ClassVar = frozenset({_SETSPEED, GOVERNOR})

    def __init__(self, *, fallback_governor: str | None = None) -> None:
        self._fallback_governor = fallback_governor

    def prepare(self, tree: CpuTree, group: ClockGroup) -> PreparedGroup:
        """Read the originals, open and probe the descriptors; change nothing.

        scaling_setspeed is an original only if it reads as a number, which means that
        `userspace` is active already; otherwise it has no value to restore.

        Raises:
            SysfsError: a file could not be read, opened or written.
        """
        with contextlib.ExitStack() as opened:
            setspeed_fd = open_attribute(tree, group, _SETSPEED, opened)
            governor_fd = open_attribute(tree, group, GOVERNOR, opened)
            found = _read(tree, group, setspeed_fd, governor_fd)
            for fd, original in found:
                probe(tree, fd, original)
            prepared = PreparedGroup(
                group=group,
                originals=tuple(self._choose(original) for _, original in found),
                writer=SetspeedWriter((setspeed_fd,)),
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
        group = prepared.group
        governor_fd = prepared.fd_of(group.path(GOVERNOR))
        (setspeed_fd,) = prepared.writer.fds
        found = _read(tree, group, setspeed_fd, governor_fd)
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
        switch_governor(prepared, USERSPACE, _NO_USERSPACE)

    def find_drift(
        self, tree: CpuTree, prepared: PreparedGroup, grant_khz: int | None
    ) -> str | None:
        """Compare the governor and the frequency of a taken group with ours.

        With `userspace`, scaling_setspeed reads as the current frequency.
        """
        group = prepared.group
        try:
            if not prepared.is_still_taken():
                return f"the governor was changed to '{prepared.read(tree, GOVERNOR)}'"
            (fd,) = prepared.writer.fds
            word = first_line(tree.read_fd(fd, group.path(_SETSPEED)))
        except SysfsError:
            return None
        if grant_khz is None or not word.isdigit() or int(word) == grant_khz:
            return None
        ends = (group.path(f"scaling_{end}_freq") for end in ("min", "max"))
        limits = Limits.of(*map(tree.read_khz, ends))
        if _may_become(grant_khz, int(word), group.steps, limits):
            return None
        return (
            f"the frequency was changed from {format_khz(grant_khz)} to"
            f" {format_khz(int(word))}"
        )

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


def _read(
    tree: CpuTree, group: ClockGroup, setspeed_fd: int, governor_fd: int
) -> list[tuple[int, Original]]:
    taken_value = USERSPACE.encode()
    governor = read_original(tree, group, GOVERNOR, governor_fd, taken_value)
    setspeed = read_original(tree, group, _SETSPEED, setspeed_fd)
    found = [(governor_fd, governor)]
    # "<unsupported>" unless the governor is userspace.
    if first_line(setspeed.value).isdigit():
        found.insert(0, (setspeed_fd, setspeed))
    return found


def _may_become(
    grant_khz: int, khz: int, steps: FrequencyTable, limits: Limits
) -> bool:
    """Whether the kernel may show a granted frequency as another one.

    It keeps within its own limits, which need not be steps. And a driver without a
    table may have steps of its own between ours, as intel_cpufreq has on hybrid CPUs
    (multiples of 78.7 MHz).
    """
    within = min(max(grant_khz, limits.min_khz), limits.max_khz)
    if khz in (within, window_of(steps, limits).fit(grant_khz)):
        return True
    is_near = abs(khz - grant_khz) < STEP_KHZ
    return is_near and steps.down_from(grant_khz) < khz < steps.up_from(grant_khz)


def _is_userspace(original: Original) -> bool:
    return bool(original.taken_value) and first_line(original.value) == USERSPACE
