# SPDX-License-Identifier: Apache-2.0
"""Energy counters that are files: powercap zones, and AMD's through hwmon.

A zone is known by its name. Directory numbers are only the order in which the kernel
found the zones, and are the same on AMD's processors, which have `intel-rapl`, too.
The files are readable for root only, since CVE-2020-8694.

Source: Documentation/power/powercap/powercap.rst and
Documentation/hwmon/amd_energy.rst of the kernel.
"""

from __future__ import annotations

import contextlib
import os
import re
from typing import TYPE_CHECKING

from orchestrator.energy.meters import (
    MICROJOULES,
    Zone,
    ZoneKind,
    parse_zone_name,
)
from orchestrator.energy.residency import MeterSource

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

_ZONE = re.compile(r"(intel-rapl(?:-mmio)?):(\d+)(?::\d+)?")
_MAX_BYTES = 32
_ACCUMULATED = 2.0**64 * MICROJOULES
"""The driver adds up 64 bits: it does not wrap in the life of a machine."""


class EnergyFiles:
    """Counters of a host's energy, one file each, kept open.

    Synchronization: one thread at a time.
    """

    def __init__(self, source: MeterSource, zones: Mapping[Zone, Path]) -> None:
        self.source = source
        self.zones = tuple(zones)
        self._paths = {zone.name: path for zone, path in zones.items()}
        self._fds: dict[str, int] = {}

    def read(self) -> dict[str, float]:
        """Return joules by zone; one that cannot be read is left out."""
        joules = {}
        for name in self._paths:
            with contextlib.suppress(OSError, ValueError):
                joules[name] = self._read(name) * MICROJOULES
        return joules

    def _read(self, name: str) -> int:
        fd = self._fds.get(name)
        if fd is None:
            flags = os.O_RDONLY | os.O_CLOEXEC
            fd = self._fds[name] = os.open(self._paths[name], flags)
        try:
            return int(os.pread(fd, _MAX_BYTES, 0))
        except OSError:  # the driver was reloaded: the next read opens it again
            os.close(self._fds.pop(name))
            raise

    def close(self) -> None:
        """Close the files."""
        while self._fds:
            os.close(self._fds.popitem()[1])


def find_powercap(sysfs_root: Path) -> EnergyFiles | None:
    """Return the zones of powercap; None: none of a package can be read.

    Processors have the zone of a package once in registers of the core and once in
    mapped memory (`intel-rapl-mmio`): the second is used only without the first.
    """
    found = list(_find_zones(sysfs_root / "class" / "powercap"))
    for prefix in ("intel-rapl", "intel-rapl-mmio"):
        files = EnergyFiles(
            MeterSource.POWERCAP,
            {zone: path for kind, zone, path in found if kind == prefix},
        )
        if _has_package(files):
            return files
        files.close()
    return None


def _find_zones(directory: Path) -> Iterator[tuple[str, Zone, Path]]:
    if not directory.is_dir():
        return
    for path in sorted(directory.iterdir()):
        match = _ZONE.fullmatch(path.name)
        known = parse_zone_name(_read_text(path / "name")) if match else None
        wraps_at = _read_text(path / "max_energy_range_uj")
        if match is None or known is None or not wraps_at.isdecimal():
            continue
        kind, package = known
        if package is None and kind is not ZoneKind.PSYS:
            parent = parse_zone_name(
                _read_text(directory / f"{match[1]}:{match[2]}" / "name")
            )
            package = parent[1] if parent else None
        zone = Zone(
            name=path.name,
            kind=kind,
            package=package,
            range_joules=int(wraps_at) * MICROJOULES,
            most_w=_read_most_w(path),
        )
        yield match[1], zone, path / "energy_uj"


def _read_most_w(zone: Path) -> float | None:
    """Return what a zone draws at most: twice the power it is designed for."""
    designed_uw = _read_text(zone / "constraint_0_max_power_uw")
    if not designed_uw.isdecimal() or not int(designed_uw):
        return None
    return 2 * int(designed_uw) * MICROJOULES


def find_hwmon(sysfs_root: Path, packages: Mapping[int, int]) -> EnergyFiles | None:
    """Return AMD's counters of sockets and cores; None: there are none of sockets.

    Args:
        sysfs_root: /sys or an imitation.
        packages: physical_package_id by CPU; the driver counts sockets from 0, in the
            order of their first CPUs.
    """
    order = list(dict.fromkeys(packages[cpu] for cpu in sorted(packages)))
    zones: dict[Zone, Path] = {}
    for directory in sorted((sysfs_root / "class" / "hwmon").glob("hwmon*")):
        if _read_text(directory / "name") != "amd_energy":
            continue
        for label in sorted(directory.glob("energy*_label")):
            path = directory / label.name.replace("_label", "_input")
            zone = _hwmon_zone(_read_text(label), order)
            if zone is not None:
                zones[zone] = path
    files = EnergyFiles(MeterSource.HWMON, zones)
    if _has_package(files):
        return files
    files.close()
    return None


def _hwmon_zone(label: str, packages: list[int]) -> Zone | None:
    match = re.fullmatch(r"E(core|socket)(\d+)", label)
    if match is None:
        return None
    number = int(match[2])
    if match[1] == "core":
        return Zone(
            name=label, kind=ZoneKind.CORE, core=number, range_joules=_ACCUMULATED
        )
    if number >= len(packages):
        return None
    return Zone(
        name=label,
        kind=ZoneKind.PACKAGE,
        package=packages[number],
        range_joules=_ACCUMULATED,
    )


def _has_package(files: EnergyFiles) -> bool:
    readable = files.read()
    return any(
        zone.kind is ZoneKind.PACKAGE and zone.name in readable for zone in files.zones
    )


def _read_text(path: Path) -> str:
    try:
        return path.read_text(encoding="ascii").strip()
    except (OSError, ValueError):
        return ""
