# SPDX-License-Identifier: Apache-2.0
"""The energy meters of a host: the first of their sources that counts packages."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from orchestrator.energy.meters import MeterReading
from orchestrator.sampling.energy_events import find_core_events, find_events
from orchestrator.sampling.energy_zones import find_hwmon, find_powercap

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from orchestrator.energy.meters import Zone
    from orchestrator.energy.residency import MeterSource


class ZoneReader(Protocol):
    """Reads some zones."""

    source: MeterSource
    zones: tuple[Zone, ...]

    def read(self) -> dict[str, float]:
        """Return joules by zone; one that cannot be read is left out."""
        ...

    def close(self) -> None:
        """Close everything."""
        ...


class HostMeters:
    """All zones of a host that are read together.

    Synchronization: one thread at a time.
    """

    def __init__(self, packages: ZoneReader, cores: ZoneReader | None = None) -> None:
        self.source = packages.source
        self._readers = [it for it in (packages, cores) if it is not None]
        self.zones = tuple(zone for it in self._readers for zone in it.zones)

    def read(self, at_s: float) -> MeterReading:
        """Read all zones, at a time of the monotonic clock."""
        joules: dict[str, float] = {}
        for reader in self._readers:
            joules.update(reader.read())
        return MeterReading(at_s, joules)

    def close(self) -> None:
        """Close everything."""
        for reader in self._readers:
            reader.close()


def find_meters(sysfs_root: Path, packages: Mapping[int, int]) -> HostMeters | None:
    """Find a host's meters; None: it has none, or they cannot be read.

    Args:
        sysfs_root: /sys or an imitation.
        packages: physical_package_id by CPU.
    """
    found: ZoneReader | None = (
        find_powercap(sysfs_root)
        or find_hwmon(sysfs_root, packages)
        or find_events(sysfs_root, packages)
    )
    if found is None:
        return None
    has_cores = any(zone.core is not None for zone in found.zones)
    return HostMeters(found, None if has_cores else find_core_events(sysfs_root))
