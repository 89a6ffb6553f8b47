# SPDX-License-Identifier: Apache-2.0
"""What energy meters count, and what two readings of them mean.

Theory of operation: meters are counters that only grow, and wrap at their own range:
a 32-bit counter of 61 microjoules wraps after 262 kJ, nine minutes at 500 W. A reading
that is lower than the one before has wrapped, once: whether it was once is certain only
if the time between them is short against the time that a wrap takes. What is not
certain, and what no processor can draw, is a **hole**: no number, with a reason.

Zones of different kinds overlap and are never added: a package contains its cores, and
not its memory; psys contains both.

Source: Documentation/power/powercap/powercap.rst and drivers/powercap/intel_rapl_common
of the kernel; defects of other programs: docs/energy.md.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

MAX_PACKAGE_W = 2_000.0
"""No processor draws that; the largest are specified at 500 W."""
MAX_HOST_W = 20_000.0
"""No server does."""
_TOLERANCE = 1.02
"""Counters of one reading are read one after the other."""
_UNEVEN_DRAM = 8.0
"""Packages whose memories differ by more than this are counted in different units."""
_UNEVEN_FROM_W = 40.0
_PACKAGE = re.compile(r"package-(\d+)(?:-die-(\d+))?")
MICROJOULES = 1e-6


class ZoneKind(StrEnum):
    """What a zone counts."""

    PACKAGE = "package"
    """A processor, or one of its dies: cores, caches, memory controllers."""
    CORE = "core"
    """The cores of a package; part of it."""
    UNCORE = "uncore"
    """Its graphics, on client processors; part of it."""
    DRAM = "dram"
    """Memory; part of no package."""
    PSYS = "psys"
    """The platform: packages, memory and more."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Zone:
    """One counter."""

    name: str
    """Identifies it: unique, for messages."""
    kind: ZoneKind
    package: int | None = None
    """physical_package_id; None: not of one package."""
    range_joules: float
    """At which it wraps to zero; its own, not that of its neighbors."""
    core: int | None = None
    """The only core that it counts; None: all of them."""
    most_w: float | None = None
    """What it draws at most for seconds; None: unknown."""


class MeterReading(NamedTuple):
    """The counters at a time."""

    at_s: float
    """Monotonic."""
    joules: Mapping[str, float]
    """By the name of the zone; those that could be read."""


def parse_zone_name(text: str) -> tuple[ZoneKind, int | None] | None:
    """Return kind and package of a powercap zone's `name`; None: it is neither.

    The number in the name is physical_package_id. The number in the zone's directory
    is only the order in which the kernel found them.
    """
    if match := _PACKAGE.fullmatch(text):
        return ZoneKind.PACKAGE, int(match[1])
    kinds = {kind.value: kind for kind in ZoneKind if kind is not ZoneKind.PACKAGE}
    kind = kinds.get(text)
    return None if kind is None else (kind, None)


@dataclass(frozen=True, slots=True, kw_only=True)
class MeterInterval:
    """What was drawn between two readings; joules."""

    duration_s: float
    packages: Mapping[int, float]
    """By physical_package_id."""
    cores: Mapping[int, float] = field(default_factory=dict)
    """By the lowest CPU of the core, where each core has a counter."""
    dram_joules: float | None = None
    psys_joules: float | None = None
    hole: str = ""
    """Why the energy is unknown; empty: it is known."""
    doubts: tuple[str, ...] = ()
    """Meters that contradict each other, and are therefore not used."""


class Meters:
    """Compares readings of a host's zones.

    Synchronization: one thread.
    """

    def __init__(self, zones: Iterable[Zone]) -> None:
        self._zones = {zone.name: zone for zone in zones}
        self._last: MeterReading | None = None

    @property
    def packages(self) -> frozenset[int]:
        """The packages that have a meter."""
        return frozenset(
            zone.package
            for zone in self._zones.values()
            if zone.kind is ZoneKind.PACKAGE and zone.package is not None
        )

    @property
    def most_s(self) -> float:
        """The longest time between two readings for which there is no hole."""
        return min(map(_most_s, self._zones.values()), default=0.0)

    def advance(self, reading: MeterReading) -> MeterInterval | None:
        """Compare a reading with the last one; None: there was none."""
        last, self._last = self._last, reading
        if last is None or reading.at_s <= last.at_s:
            return None
        duration_s = reading.at_s - last.at_s
        drawn: dict[str, float] = {}
        holes: list[str] = []
        for name, zone in self._zones.items():
            if name not in reading.joules or name not in last.joules:
                if zone.kind is ZoneKind.PACKAGE:
                    holes.append(f"{name} cannot be read")
                continue
            hole = _find_gap(zone, duration_s)
            joules = reading.joules[name] - last.joules[name]
            if joules < 0:
                joules += zone.range_joules
            hole = hole or _find_impossible(zone, joules, duration_s)
            if hole and zone.kind is ZoneKind.PACKAGE:
                holes.append(f"{name} {hole}")
            if not hole:
                drawn[name] = joules
        return self._judge(drawn, duration_s, "; ".join(holes))

    def _judge(
        self, drawn: Mapping[str, float], duration_s: float, hole: str
    ) -> MeterInterval:
        packages = self._by_package(drawn, ZoneKind.PACKAGE)
        cores = {
            zone.core: joules
            for zone, joules in self._of(drawn, ZoneKind.CORE)
            if zone.core is not None
        }
        dram = [joules for _, joules in self._of(drawn, ZoneKind.DRAM)]
        psys = [joules for _, joules in self._of(drawn, ZoneKind.PSYS)]
        total = sum(packages.values())
        if not hole and not total:
            hole = "no meter counts anything"
        doubts = [
            f"the cores of package {number} draw more than the package"
            for number, joules in self._by_package(drawn, ZoneKind.CORE).items()
            if joules > packages.get(number, joules) * _TOLERANCE
        ]
        if packages and sum(cores.values()) > total * _TOLERANCE:
            doubts.append("the cores draw more than their packages")
            cores = {}
        if psys and sum(psys) * _TOLERANCE < total:
            doubts.append("psys counts less than its packages")
            psys = []
        if _is_uneven([joules / duration_s for joules in dram]):
            doubts.append("the memories' meters count in different units")
            dram = []
        return MeterInterval(
            duration_s=duration_s,
            packages={} if hole else packages,
            cores={} if hole else cores,
            dram_joules=sum(dram) if dram else None,
            psys_joules=sum(psys) if psys else None,
            hole=hole,
            doubts=tuple(doubts),
        )

    def _of(
        self, drawn: Mapping[str, float], kind: ZoneKind
    ) -> Iterator[tuple[Zone, float]]:
        for name, joules in drawn.items():
            if self._zones[name].kind is kind:
                yield self._zones[name], joules

    def _by_package(
        self, drawn: Mapping[str, float], kind: ZoneKind
    ) -> dict[int, float]:
        found: dict[int, float] = {}
        for zone, joules in self._of(drawn, kind):
            if zone.package is not None:
                found[zone.package] = found.get(zone.package, 0.0) + joules
        return found


def _find_gap(zone: Zone, duration_s: float) -> str:
    """Return a hole if the counter may have wrapped more than once."""
    if duration_s <= _most_s(zone):
        return ""
    return f"was not read for {duration_s:.0f} s, in which it may have wrapped"


def _most_s(zone: Zone) -> float:
    return zone.range_joules / 2 / (zone.most_w or _limit_w(zone))


def _limit_w(zone: Zone) -> float:
    return MAX_HOST_W if zone.kind is ZoneKind.PSYS else MAX_PACKAGE_W


def _find_impossible(zone: Zone, joules: float, duration_s: float) -> str:
    watts = joules / duration_s
    if watts <= _limit_w(zone):
        return ""
    return f"counted {watts:.0f} W, which is impossible"


def _is_uneven(watts: list[float]) -> bool:
    most, least = max(watts, default=0.0), min(watts, default=0.0)
    return most > _UNEVEN_FROM_W and most > _UNEVEN_DRAM * least
