# SPDX-License-Identifier: Apache-2.0
"""Finds coordinated CPUs that run higher than the grant of a clock group.

The hardware runs coordinated CPUs at the highest frequency that is set for one of
them, so that a grant has no effect while such a CPU is set higher. Neither the kernel
nor the guest sees that: the write succeeds, and the request is acknowledged.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from orchestrator.controller.group_lifecycle import GroupStage
from orchestrator.values.cpuset import name_cpus
from orchestrator.values.units import format_khz

if TYPE_CHECKING:
    from collections.abc import Mapping

    from orchestrator.controller.inventory import Inventory
    from orchestrator.controller.records import GroupRecord
    from orchestrator.power.topology import ClockReading
    from orchestrator.values.domain import PCpu

_HIGHEST = "performance"
"""The governor that always sets the highest frequency."""


class HeldUp(NamedTuple):
    """The CPUs outside a clock group that keep its frequency above the grant."""

    pcpus: tuple[PCpu, ...]
    """Ascending; empty: none."""
    reason: str
    """`held up by CPU 6 (performance, not managed)`; empty without such CPUs."""


class CoordinatedCpus:
    """The frequencies of all clock groups, as far as they affect each other.

    Synchronization: the asyncio thread only; for one use.
    """

    def __init__(
        self,
        inventory: Inventory,
        grants: Mapping[int, int | None],
        readings: Mapping[int, ClockReading],
    ) -> None:
        self._topology = inventory.topology
        self._grants = grants
        self._readings = readings
        self._record_by_cpu = {
            pcpu: record
            for record in inventory.groups.values()
            for pcpu in record.group.pcpus
        }

    def of(self, record: GroupRecord) -> frozenset[PCpu]:
        """Return the CPUs outside a clock group that are coordinated with it."""
        return self._topology.coordinated_with(record.group)

    def holding_up(self, record: GroupRecord) -> HeldUp:
        """Return the coordinated CPUs that are set higher than a group's grant."""
        steps = record.group.steps
        grant_khz = self._grants.get(record.group.number)
        found: dict[str, list[PCpu]] = {}
        if record.stage is not GroupStage.TAKEN or not grant_khz:
            return HeldUp((), "")
        for pcpu in sorted(self.of(record)):
            other = self._record_by_cpu.get(pcpu)
            if other is None:  # its frequency is not known
                continue
            khz, source = self._setting(other)
            # A measured frequency is rarely a step; so it has to reach the next one.
            if khz >= steps.up_from(grant_khz) > grant_khz:
                found.setdefault(source, []).append(pcpu)
        causes = [f"{name_cpus(pcpus)} ({why})" for why, pcpus in found.items()]
        return HeldUp(
            pcpus=tuple(sorted(pcpu for pcpus in found.values() for pcpu in pcpus)),
            reason=f"held up by {', '.join(causes)}" if causes else "",
        )

    def _setting(self, record: GroupRecord) -> tuple[int, str]:
        """Return the frequency that is set for a clock group, and by what."""
        group = record.group
        if record.stage is GroupStage.TAKEN:
            khz = self._grants.get(group.number) or 0
            return khz, f"granted {format_khz(khz)}"
        reading = self._readings.get(group.number)
        governor = reading.governor if reading else group.governor
        khz = (reading.current_khz if reading else None) or 0
        if governor == _HIGHEST:
            khz = group.max_khz
        return khz, f"{governor}, not managed"
