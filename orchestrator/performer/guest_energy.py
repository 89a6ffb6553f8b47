# SPDX-License-Identifier: Apache-2.0
"""Lets guests query what their domains draw: sums since each start of a domain.

The sums of `energy.ledger` go on when a domain is started again; those of a guest
begin with it, because it may be another guest. They are written into the table that the
monitor replies from, after each sample.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, NamedTuple, Protocol

from orchestrator.channel.protocol import EnergyFigures, FigureSource
from orchestrator.energy.ledger import RECENT_S
from orchestrator.values.refusal import Permission

if TYPE_CHECKING:
    from orchestrator.controller.inventory import Inventory
    from orchestrator.energy.residency import DomainEnergy, EnergyInterval
    from orchestrator.values.domain import DomainId

_MICRO = 1_000_000
_MILLI = 1_000


class FiguresTable(Protocol):
    """What this needs of the monitor."""

    def write_energy(self, uuid: DomainId, figures: EnergyFigures) -> None:
        """Let a domain's guest query what the domain draws."""
        ...


class _Sums(NamedTuple):
    """Since the domain was started; joules and seconds."""

    drawn: float = 0.0
    drawn_error: float = 0.0
    saved: float = 0.0
    saved_error: float = 0.0
    seconds: float = 0.0

    def plus(self, part: DomainEnergy, seconds: float) -> _Sums:
        return _Sums(
            self.drawn + part.joules,
            self.drawn_error + part.error_joules,
            self.saved + part.saved_joules,
            self.saved_error + part.saved_error_joules,
            self.seconds + seconds,
        )


class _Run:
    """One start of a domain, until its end."""

    def __init__(self, number: int) -> None:
        self.number = number
        """As in `DomainSpec.run`."""
        self._latest = deque([_Sums()])

    def add(self, part: DomainEnergy, seconds: float) -> None:
        latest = self._latest
        latest.append(latest[-1].plus(part, seconds))
        while latest[-1].seconds - latest[1].seconds >= RECENT_S:
            latest.popleft()

    def figures(self, source: FigureSource) -> EnergyFigures:
        first, last = self._latest[0], self._latest[-1]
        seconds = last.seconds - first.seconds

        def micro_watts(start: float, end: float) -> int:
            return round((end - start) / seconds * _MICRO)

        return EnergyFigures(
            drawn_uj=round(last.drawn * _MICRO),
            drawn_error_uj=round(last.drawn_error * _MICRO),
            saved_uj=round(last.saved * _MICRO),
            saved_error_uj=round(last.saved_error * _MICRO),
            power_uw=micro_watts(first.drawn, last.drawn),
            power_error_uw=micro_watts(first.drawn_error, last.drawn_error),
            saved_uw=micro_watts(first.saved, last.saved),
            saved_error_uw=micro_watts(first.saved_error, last.saved_error),
            duration_ms=round(last.seconds * _MILLI),
            source=source,
        )


class GuestEnergy:
    """Keeps the sums, and writes them for the guests that may query them.

    Synchronization: the asyncio thread only.
    """

    def __init__(self, inventory: Inventory, table: FiguresTable) -> None:
        self._inventory = inventory
        self._table = table
        self._runs: dict[DomainId, _Run] = {}

    def publish(self, interval: EnergyInterval) -> None:
        """Add an interval, and write what all running domains draw."""
        for uuid in self._runs.keys() - interval.domains.keys():
            del self._runs[uuid]
        host = interval.host
        source = FigureSource.MODELLED if host.is_modelled else FigureSource.MEASURED
        for uuid, part in interval.domains.items():
            record = self._inventory.domains.get(uuid)
            if record is None:
                continue
            run = self._runs.get(uuid)
            if run is None or run.number != record.spec.run:
                run = self._runs[uuid] = _Run(record.spec.run)
            run.add(part, interval.duration_s)
            if record.sent and Permission.ENERGY_QUERIES in record.sent.permissions:
                self._table.write_energy(uuid, run.figures(source))
