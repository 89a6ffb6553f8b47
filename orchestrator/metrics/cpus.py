# SPDX-License-Identifier: Apache-2.0
"""Metrics of host CPUs and clock groups."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from orchestrator.controller.group_lifecycle import GroupStage
from orchestrator.metrics import families
from orchestrator.metrics.family import Samples
from orchestrator.metrics.host import single

if TYPE_CHECKING:
    from collections.abc import Mapping

    from orchestrator.controller.inventory import Inventory
    from orchestrator.metrics.snapshot import Snapshot


class CpuSource:
    """Reads the inventory and the frequencies.

    Synchronization: the asyncio thread only.
    """

    def __init__(self, inventory: Inventory) -> None:
        self._inventory = inventory

    def read(self, snapshot: Snapshot) -> list[Samples]:
        """Return the samples of the families about CPUs."""
        inventory = self._inventory
        groups, occurrences = inventory.groups, inventory.occurrences
        stages = Counter(record.stage for record in groups.values())
        overridden = sum(it.override_khz is not None for it in groups.values())
        unmanaged = len(inventory.topology.unmanaged)
        return [
            Samples(
                families.CLOCK_GROUPS,
                [((stage.value,), stages[stage]) for stage in GroupStage],
            ),
            single(families.OVERRIDES, overridden),
            single(families.TAKES, occurrences.takes),
            single(families.RESTORES, occurrences.restores),
            single(families.DRIFTS, occurrences.drifts),
            single(families.CPUS_UNMANAGED, unmanaged),
            Samples(families.CPU_GRANTED, self._of_cpus(snapshot.granted_hz)),
            Samples(families.CPU_OBTAINED, self._of_cpus(snapshot.obtained_hz)),
        ]

    def _of_cpus(self, hertz: Mapping[int, float]) -> list[tuple[tuple[str], float]]:
        online, groups = self._inventory.topology.online, self._inventory.groups
        found = [
            (pcpu, value)
            for number, value in hertz.items()
            if number in groups
            for pcpu in groups[number].group.pcpus
            if pcpu in online
        ]
        return [((str(pcpu),), value) for pcpu, value in sorted(found)]
