# SPDX-License-Identifier: Apache-2.0
"""Energy counters of the host's packages as each domain's QEMU reads them.

See `energy.rapl` for what they count.
"""

from __future__ import annotations

import time
from itertools import count, takewhile
from typing import TYPE_CHECKING

from orchestrator.controller.energy import package_of
from orchestrator.energy.rapl import Ramp, in_units
from orchestrator.values.domain import DomainId, PCpu

if TYPE_CHECKING:
    from collections.abc import Callable

    from orchestrator.controller.inventory import Inventory
    from orchestrator.controller.records import DomainRecord
    from orchestrator.energy.residency import EnergyInterval


class VirtualPackages:
    """The counters of all running domains, from the intervals of the accounting.

    Synchronization: the asyncio thread only.
    """

    def __init__(
        self, inventory: Inventory, now_s: Callable[[], float] = time.monotonic
    ) -> None:
        """Count nothing yet.

        Args:
            inventory: what exists.
            now_s: returns monotonic seconds.
        """
        self._inventory = inventory
        self._now_s = now_s
        self._ramps: dict[DomainId, Ramp] = {}

    def add(self, interval: EnergyInterval) -> None:
        """Add an interval; the counters of domains that have ended are forgotten."""
        for uuid in self._ramps.keys() - interval.domains.keys():
            del self._ramps[uuid]
        now_s = self._now_s()
        for uuid, part in interval.domains.items():
            ramp = self._ramps.setdefault(uuid, Ramp())
            ramp.add(part.joules, part.run_s, interval.duration_s, now_s)

    def read(self, name: str, pcpu: int) -> int:
        """Return the counter of the package of a CPU, as a domain's QEMU reads it.

        Returns:
            0: the domain is not running or not permitted to read it, nothing has been
            accounted, or there is no such CPU.
        """
        record = self._find(name)
        ramp = self._ramps.get(record.spec.uuid) if record is not None else None
        if ramp is None:
            return 0
        return in_units(ramp.at(self._now_s()) * self._count_cpus(pcpu))

    def _find(self, name: str) -> DomainRecord | None:
        record = self._inventory.find_domain(name)
        if record is None or not record.spec.state.is_active:
            return None
        return record if record.rights(self._inventory.config)["rapl"].value else None

    def _count_cpus(self, pcpu: int) -> int:
        """Return how many CPUs QEMU counts in the package of a CPU.

        It stops at the first CPU that is offline (vmsr_count_cpus_per_package).
        """
        online = self._inventory.topology.online
        if pcpu not in online:
            return 0
        package = package_of(self._inventory, PCpu(pcpu))
        counted = takewhile(lambda number: number in online, map(PCpu, count()))
        return sum(package_of(self._inventory, it) == package for it in counted)
