# SPDX-License-Identifier: Apache-2.0
"""Energy counters of the kernel's perf: the events `power`.

For hosts whose powercap driver is not loaded. The kernel adds the counters up to 64
bits, so they do not wrap.

Source: arch/x86/events/rapl.c of the kernel; Documentation/ABI/testing/
sysfs-bus-event_source-devices-events for units.
"""

from __future__ import annotations

import contextlib
import os
import struct
from typing import TYPE_CHECKING, TypeAlias

from orchestrator.energy.meters import Zone, ZoneKind
from orchestrator.energy.residency import MeterSource
from orchestrator.errors import ConfigError
from orchestrator.sampling.perf_event import open_event
from orchestrator.values.cpuset import parse_cpulist

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

_EVENTS = {
    "energy-pkg": ZoneKind.PACKAGE,
    "energy-cores": ZoneKind.CORE,
    "energy-ram": ZoneKind.DRAM,
    "energy-psys": ZoneKind.PSYS,
    "energy-core": ZoneKind.CORE,
}
_MOST_COUNTS = 2.0**63
_ANSWER = struct.Struct("=QQQ")
"""The count, time enabled and time running."""
Open: TypeAlias = "Callable[[int, int, int], int]"
"""Opens perf's event of a type and number on a CPU; returns a descriptor."""


class EnergyEvents:
    """Open counters of a host's energy.

    Synchronization: one thread at a time.
    """

    source = MeterSource.PERF

    def __init__(self, counters: Mapping[Zone, tuple[int, float]]) -> None:
        """Own the counters.

        Args:
            counters: descriptor, and joules for each count, by zone.
        """
        self.zones = tuple(counters)
        self._counters = {zone.name: it for zone, it in counters.items()}

    def read(self) -> dict[str, float]:
        """Return joules by zone; one that cannot be read is left out."""
        joules = {}
        for name, (fd, scale) in self._counters.items():
            with contextlib.suppress(OSError, struct.error):
                count, _, _ = _ANSWER.unpack(os.read(fd, _ANSWER.size))
                joules[name] = count * scale
        return joules

    def close(self) -> None:
        """Close the counters."""
        while self._counters:
            os.close(self._counters.popitem()[1][0])


def find_events(
    sysfs_root: Path,
    packages: Mapping[int, int],
    open_counter: Open = open_event,
) -> EnergyEvents | None:
    """Return the counters; None: the host has none of packages, or forbids them.

    Args:
        sysfs_root: /sys or an imitation.
        packages: physical_package_id by CPU.
        open_counter: opens perf's event of a type and number on a CPU.
    """

    def build_zone(event: str, cpu: int, scale: float) -> Zone:
        kind = _EVENTS[event]
        return Zone(
            name=f"{event} of CPU {cpu}",
            kind=kind,
            package=None if kind is ZoneKind.PSYS else packages.get(cpu, 0),
            range_joules=_MOST_COUNTS * scale,
        )

    found = _open_events(sysfs_root, "power", build_zone, open_counter)
    if found is not None and any(it.kind is ZoneKind.PACKAGE for it in found.zones):
        return found
    if found is not None:
        found.close()
    return None


def find_core_events(
    sysfs_root: Path, open_counter: Open = open_event
) -> EnergyEvents | None:
    """Return the counters of single cores, which AMD's processors have; None: none."""

    def build_zone(event: str, cpu: int, scale: float) -> Zone:
        return Zone(
            name=f"{event} of CPU {cpu}",
            kind=ZoneKind.CORE,
            core=cpu,
            range_joules=_MOST_COUNTS * scale,
        )

    return _open_events(sysfs_root, "power_core", build_zone, open_counter)


def _open_events(
    sysfs_root: Path,
    device: str,
    build_zone: Callable[[str, int, float], Zone],
    open_counter: Open,
) -> EnergyEvents | None:
    """Open all known events of a device, on one CPU of each unit that it counts."""
    directory = sysfs_root / "bus" / "event_source" / "devices" / device
    counters: dict[Zone, tuple[int, float]] = {}
    try:
        kind = int((directory / "type").read_text())
        cpus = sorted(parse_cpulist((directory / "cpumask").read_text().strip()))
        for event, counted in _EVENTS.items():
            file = directory / "events" / event
            if not file.is_file():
                continue
            config = int(file.read_text().strip().removeprefix("event="), 16)
            scale = float(file.with_name(f"{event}.scale").read_text())
            for cpu in cpus[:1] if counted is ZoneKind.PSYS else cpus:
                zone = build_zone(event, cpu, scale)
                counters[zone] = (open_counter(kind, config, cpu), scale)
    except (OSError, ValueError, ConfigError):
        EnergyEvents(counters).close()
        return None
    return EnergyEvents(counters)
