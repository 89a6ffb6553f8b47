# SPDX-License-Identifier: Apache-2.0
"""The governor `performance` and both limits at the same frequency.

For drivers that choose frequencies themselves: intel_pstate in the mode active, with
HWP and without, and amd-pstate in the mode active (amd-pstate-epp). `performance`
makes intel_pstate without HWP apply a limit at once, and with HWP run at the upper one;
amd-pstate runs between the limits, whatever the governor is.

`performance` sets the energy performance preference, too, and amd-pstate keeps that
when another governor follows. So the preference is restored, after the governor: with
`performance`, the kernel refuses any other one.

Limits are applied by the kernel from a work queue; writing the governor, which is
restored after the limits, waits for it.

Source: drivers/cpufreq/{cpufreq,intel_pstate,amd-pstate}.c of the kernel.
"""

from __future__ import annotations

import contextlib
import dataclasses
from typing import TYPE_CHECKING, ClassVar

from orchestrator.errors import SysfsError
from orchestrator.power.group import Original, PreparedGroup
from orchestrator.power.mechanisms.opening import (
    GOVERNOR,
    open_attribute,
    probe,
    read_original,
    switch_governor,
)
from orchestrator.power.sysfs import first_line
from orchestrator.power.writer import LimitsWriter
from orchestrator.values.units import format_khz

if TYPE_CHECKING:
    from collections.abc import Mapping

    from orchestrator.power.group import ClockGroup
    from orchestrator.power.sysfs import CpuTree

PERFORMANCE = "performance"
_NO_PERFORMANCE = "install a kernel with CONFIG_CPU_FREQ_GOV_PERFORMANCE"
PREFERENCE = "energy_performance_preference"


class LimitsMechanism:
    """Sets frequencies through the limits of the cpufreq policy.

    Synchronization: none required; it keeps no state of a group.
    """

    TAKEN_GOVERNOR: ClassVar = PERFORMANCE
    ORIGINALS: ClassVar = frozenset({*LimitsWriter.ATTRIBUTES, GOVERNOR, PREFERENCE})

    def __init__(self, *, fallback_governor: str | None = None) -> None:
        """Create the mechanism; any governor that is found is restored."""
        del fallback_governor

    def prepare(self, tree: CpuTree, group: ClockGroup) -> PreparedGroup:
        """Read the originals, open the descriptors, probe the governor.

        Limits are not probed: what is read may be narrower than what was requested,
        and the kernel would take it as the request.

        Raises:
            SysfsError: a file could not be read, opened or written.
        """
        with contextlib.ExitStack() as opened:
            fds = {
                name: open_attribute(tree, group, name, opened)
                for name in (*LimitsWriter.ATTRIBUTES, GOVERNOR)
            }
            if (tree.root / group.path(PREFERENCE)).exists():  # not of every driver
                fds[PREFERENCE] = open_attribute(tree, group, PREFERENCE, opened)
            originals = _read(tree, group, fds)
            probe(tree, fds[GOVERNOR], _governor_of(group, originals))
            prepared = PreparedGroup(
                group=group,
                originals=originals,
                writer=LimitsWriter([fds[name] for name in LimitsWriter.ATTRIBUTES]),
                original_fds=tuple(fds.values()),
                root=str(tree.root),
            )
            opened.pop_all()
        return prepared

    def renew(self, tree: CpuTree, prepared: PreparedGroup) -> PreparedGroup | None:
        """Read the originals of a group again; it must not be taken.

        Raises:
            SysfsError: a file could not be read.
        """
        group = prepared.group
        names = (original.path.rpartition("/")[2] for original in prepared.originals)
        originals = _read(
            tree, group, dict(zip(names, prepared.original_fds, strict=True))
        )
        if originals == prepared.originals:
            return None
        governor = first_line(_governor_of(group, originals).value)
        return dataclasses.replace(
            prepared,
            group=dataclasses.replace(group, governor=governor),
            originals=originals,
        )

    def take(self, prepared: PreparedGroup) -> None:
        """Switch to the `performance` governor; idempotent.

        Raises:
            SysfsError: the kernel refused; EINVAL: no such governor.
        """
        switch_governor(prepared, PERFORMANCE, _NO_PERFORMANCE)

    def find_drift(
        self, tree: CpuTree, prepared: PreparedGroup, grant_khz: int | None
    ) -> str | None:
        """Compare the governor and the limits of a taken group with ours.

        A lower maximum is no drift: a cooling device, the firmware or a switched-off
        turbo lowers it, and the kernel shows a minimum above it as the maximum.
        """
        group = prepared.group
        try:
            if not prepared.is_still_taken():
                return f"the governor was changed to '{prepared.read(tree, GOVERNOR)}'"
            high_khz, low_khz = (
                int(first_line(tree.read_fd(fd, group.path(name))))
                for name, fd in zip(
                    LimitsWriter.ATTRIBUTES, prepared.writer.fds, strict=True
                )
            )
        except (SysfsError, ValueError):
            return None
        if grant_khz is None or (high_khz <= grant_khz and low_khz == high_khz):
            return None
        limits = f"{format_khz(low_khz)} to {format_khz(high_khz)}"
        return f"the limits were changed from {format_khz(grant_khz)} to {limits}"


def _read(
    tree: CpuTree, group: ClockGroup, fds: Mapping[str, int]
) -> tuple[Original, ...]:
    taken_values = {GOVERNOR: PERFORMANCE.encode()}
    return tuple(
        read_original(tree, group, name, fd, taken_values.get(name, b""))
        for name, fd in fds.items()
    )


def _governor_of(group: ClockGroup, originals: tuple[Original, ...]) -> Original:
    path = group.path(GOVERNOR)
    return next(original for original in originals if original.path == path)
