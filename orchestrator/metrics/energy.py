# SPDX-License-Identifier: Apache-2.0
"""Metrics of energy: what domains drew and saved, and where the host's energy went."""

from __future__ import annotations

from typing import TYPE_CHECKING

from orchestrator.metrics import families
from orchestrator.metrics.family import Samples
from orchestrator.metrics.host import single

if TYPE_CHECKING:
    from collections.abc import Callable

    from orchestrator.config import EnergyConfig
    from orchestrator.controller.inventory import Inventory
    from orchestrator.energy.ledger import Ledger
    from orchestrator.energy.residency import HostEnergy
    from orchestrator.metrics.snapshot import Snapshot

PACKAGE, DRAM, PSYS = "package", "dram", "psys"


class EnergySource:
    """Reads the sums of the accounting of energy.

    Synchronization: the asyncio thread only.
    """

    def __init__(self, inventory: Inventory, find_ledger: Callable[[], Ledger]) -> None:
        """Read nothing yet.

        Args:
            inventory: what main knows.
            find_ledger: returns the sums; called at each scrape.
        """
        self._inventory = inventory
        self._find_ledger = find_ledger

    def read(self, snapshot: Snapshot) -> list[Samples]:  # noqa: ARG002 - of the protocol
        """Return the samples of the families about energy; none before an interval."""
        ledger, config = self._find_ledger(), self._inventory.config.energy
        recent = ledger.recent()
        if recent is None or not config.enabled:
            return []
        return [
            *self._read_domains(ledger),
            *_read_host(ledger, recent.host),
            *_read_prices(config),
        ]

    def _read_domains(self, ledger: Ledger) -> list[Samples]:
        known = self._inventory.domains
        domains = [
            ((known[uuid].spec.name, uuid), sums)
            for uuid, sums in ledger.domains.items()
            if uuid in known and known[uuid].spec.state.is_active
        ]
        return [
            Samples(
                families.DOMAIN_CPU_JOULES,
                [((*names, PACKAGE), sums.joules) for names, sums in domains],
            ),
            Samples(
                families.DOMAIN_SAVED_JOULES,
                [(names, sums.most_saved_joules) for names, sums in domains],
            ),
            Samples(
                families.DOMAIN_POSSIBLE_JOULES,
                [(names, sums.most_possible_joules) for names, sums in domains],
            ),
            Samples(
                families.DOMAIN_CPU_ERROR,
                [(names, sums.error_joules) for names, sums in domains],
            ),
            Samples(
                families.DOMAIN_SAVED_ERROR,
                [(names, sums.saved_error_joules) for names, sums in domains],
            ),
        ]


def _read_host(ledger: Ledger, lately: HostEnergy) -> list[Samples]:
    zones = [((PACKAGE,), ledger.measured_joules)]
    if lately.dram_joules is not None:
        zones.append(((DRAM,), ledger.dram_joules))
    if lately.psys_joules is not None:
        zones.append(((PSYS,), ledger.psys_joules))
    return [
        Samples(families.HOST_JOULES, zones),
        Samples(
            families.PACKAGE_PART_JOULES,
            [
                (("domains",), ledger.host.joules),
                (("host",), ledger.host_joules),
                (("idle",), ledger.idle_joules),
                (("static",), ledger.static_joules),
            ],
        ),
        single(families.HOST_SAVED_JOULES, ledger.host.most_saved_joules),
        single(families.HOST_POSSIBLE_JOULES, ledger.host.most_possible_joules),
        single(families.HOST_SAVED_ERROR, ledger.host.saved_error_joules),
        single(families.METER_HOLES, ledger.holes_total),
        single(families.ENERGY_MODELLED, lately.is_modelled),
    ]


def _read_prices(config: EnergyConfig) -> list[Samples]:
    price, co2_g = config.price_per_kwh, config.co2_g_per_kwh
    return [
        Samples(
            families.ENERGY_PRICE,
            [] if price is None else [((config.currency,), price)],
        ),
        Samples(families.ENERGY_CO2, [] if co2_g is None else [((), co2_g)]),
    ]
