# SPDX-License-Identifier: Apache-2.0
"""What was drawn and saved since the daemon started, and lately."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from orchestrator.energy.residency import combine
from orchestrator.values.units import kwh

if TYPE_CHECKING:
    from collections.abc import Collection

    from orchestrator.energy.residency import DomainEnergy, EnergyInterval
    from orchestrator.values.domain import DomainId

RECENT_S = 10
"""Power is the mean of so many of the last intervals, of a second each."""
SHOWN_S = 60
"""Of so many intervals, each one is kept."""


class Prices(NamedTuple):
    """What a kilowatt-hour costs."""

    per_kwh: float | None = None
    """Money; None: unknown."""
    currency: str = ""
    co2_g_per_kwh: float | None = None
    """Grams of CO2; None: unknown."""

    def money(self, joules: float) -> float | None:
        """Return what an energy costs; None: unknown."""
        return None if self.per_kwh is None else self.per_kwh * kwh(joules)

    def co2_g(self, joules: float) -> float | None:
        """Return the CO2 of an energy, in grams; None: unknown."""
        return None if self.co2_g_per_kwh is None else self.co2_g_per_kwh * kwh(joules)


@dataclass(slots=True)
class Figures:
    """Sums since the daemon started, or the domain; joules."""

    joules: float = 0.0
    error_joules: float = 0.0
    saved_joules: float = 0.0
    saved_error_joules: float = 0.0
    possible_joules: float = 0.0
    most_saved_joules: float = 0.0
    most_possible_joules: float = 0.0
    """The most that `saved_joules` and `possible_joules` have been: for counters, which
    only grow."""

    def add(self, part: DomainEnergy) -> None:
        """Add an interval."""
        self.joules += part.joules
        self.error_joules += part.error_joules
        self.saved_joules += part.saved_joules
        self.saved_error_joules += part.saved_error_joules
        self.possible_joules += part.possible_joules
        self.most_saved_joules = max(self.most_saved_joules, self.saved_joules)
        most = max(self.most_possible_joules, self.possible_joules)
        self.most_possible_joules = most


class Ledger:
    """Sums and the latest intervals.

    Synchronization: one thread.
    """

    def __init__(self) -> None:
        self.domains: dict[DomainId, Figures] = {}
        """Sums by domain, since the daemon started."""
        self.measured_joules = self.static_joules = 0.0
        self.idle_joules = self.host_joules = 0.0
        self.dram_joules = self.psys_joules = 0.0
        self.host = Figures()
        """Sums of all domains that there have been."""
        self.duration_s = 0.0
        self.holes_total = 0
        self._intervals: deque[EnergyInterval] = deque(maxlen=SHOWN_S)

    def add(self, interval: EnergyInterval) -> None:
        """Add an interval."""
        self._intervals.append(interval)
        host = interval.host
        self.duration_s += interval.duration_s
        self.measured_joules += host.measured_joules
        self.static_joules += host.static_joules
        self.idle_joules += host.idle_joules
        self.host_joules += host.host_joules
        self.dram_joules += host.dram_joules or 0.0
        self.psys_joules += host.psys_joules or 0.0
        self.holes_total += bool(host.hole)
        for uuid, part in interval.domains.items():
            self.domains.setdefault(uuid, Figures()).add(part)
            self.host.add(part)

    def keep(self, known: Collection[DomainId]) -> None:
        """Forget the sums of all other domains."""
        for uuid in self.domains.keys() - set(known):
            del self.domains[uuid]

    def recent(self, seconds: int = RECENT_S) -> EnergyInterval | None:
        """Return the last intervals as one; None: there is none yet."""
        latest = list(self._intervals)[-seconds:]
        return combine(latest) if latest else None

    def intervals(self) -> tuple[EnergyInterval, ...]:
        """Return the latest intervals, oldest first."""
        return tuple(self._intervals)
