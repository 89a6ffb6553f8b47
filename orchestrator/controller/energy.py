# SPDX-License-Identifier: Apache-2.0
"""What runs where, for the accounting of energy; and what its meters' problems mean."""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING

from orchestrator.controller.actions import Report, Severity
from orchestrator.controller.group_lifecycle import GroupStage
from orchestrator.energy.attribution import Package
from orchestrator.energy.observer import DomainPlan, HostPlan, VCpuPlan

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from orchestrator import events
    from orchestrator.controller.actions import Action
    from orchestrator.controller.inventory import Inventory
    from orchestrator.controller.records import DomainRecord, Placement
    from orchestrator.rights import Rights
    from orchestrator.values.domain import DomainId, PCpu, VCpu

_UNKNOWN_STEPS_KHZ = (1_000_000,)
"""For a package without clock groups: its frequencies are unknown."""


def on_meters_doubted(
    _inventory: Inventory, event: events.MetersDoubted
) -> list[Action]:
    """Report what the meters count that cannot be, or that they count again."""
    if not event.problem:
        return [Report("energy", "the energy meters count again")]
    return [Report("energy", event.problem, severity=Severity.WARNING)]


def build_plan(
    inventory: Inventory, known: Mapping[DomainId, DomainPlan] = MappingProxyType({})
) -> HostPlan:
    """Return what runs where now.

    Args:
        inventory: what exists.
        known: plans of domains that still run at the same places.
    """
    plans = _VCpuPlans(inventory)
    return HostPlan(
        packages=_packages(inventory),
        domains={
            uuid: known.get(uuid) or _plan_domain(inventory, record, plans)
            for uuid, record in inventory.domains.items()
            if record.spec.state.is_active
        },
        cpus=len(inventory.topology.online),
    )


def list_taken(inventory: Inventory) -> frozenset[int]:
    """Return the clock groups that run at their grants."""
    groups = inventory.groups.items()
    return frozenset(n for n, it in groups if it.stage is GroupStage.TAKEN)


def running(inventory: Inventory) -> dict[DomainId, Mapping[VCpu, Placement]]:
    """Return what changes when a domain starts, ends or runs elsewhere."""
    return {
        uuid: record.placements
        for uuid, record in inventory.domains.items()
        if record.spec.state.is_active
    }


def _packages(inventory: Inventory) -> dict[int, Package]:
    topology = inventory.topology
    cpus: dict[int, set[PCpu]] = {}
    for pcpu in topology.online:
        cpus.setdefault(package_of(inventory, pcpu), set()).add(pcpu)
    found = {}
    for number, pcpus in sorted(cpus.items()):
        groups = [it for it in topology.groups if it.pcpus & pcpus]
        steps = {khz for group in groups for khz in group.steps.khz}
        found[number] = Package(
            number=number,
            cores=len({_core_of(inventory, pcpu) for pcpu in pcpus}),
            groups=frozenset(group.number for group in groups),
            steps_khz=tuple(sorted(steps)) or _UNKNOWN_STEPS_KHZ,
        )
    return found


def package_of(inventory: Inventory, pcpu: PCpu) -> int:
    """Return the package of a CPU; 0 if it is not known, as in virtual machines."""
    location = inventory.topology.locations.get(pcpu)
    return 0 if location is None or location.package is None else location.package


def _core_of(inventory: Inventory, pcpu: PCpu) -> int:
    location = inventory.topology.locations.get(pcpu)
    return pcpu if location is None else location.core


def _plan_domain(
    inventory: Inventory, record: DomainRecord, plans: _VCpuPlans
) -> DomainPlan:
    rights = record.rights(inventory.config)
    threads = [it.pinning for it in record.spec.threads]
    return DomainPlan(
        vcpus={
            int(vcpu): plans.find(placement, rights)
            for vcpu, placement in record.placements.items()
        },
        is_enforced=record.is_enforced(),
        other_groups=_groups_of(inventory, frozenset().union(*threads)),
    )


class _VCpuPlans:
    """Plans of vCPUs; those on the same CPUs with the same rights share one."""

    def __init__(self, inventory: Inventory) -> None:
        self._inventory = inventory
        self._known: dict[tuple[object, ...], VCpuPlan] = {}

    def find(self, placement: Placement, rights: Rights) -> VCpuPlan:
        """Return the plan of a vCPU with this place, of a domain with these rights."""
        turbo = rights.turbo.value
        key = placement.group, placement.pcpus, rights.limits, turbo
        plan = self._known.get(key)
        if plan is None:
            plan = self._known[key] = _plan_vcpu(self._inventory, placement, rights)
        return plan


def _plan_vcpu(inventory: Inventory, placement: Placement, rights: Rights) -> VCpuPlan:
    cores = {_core_of(inventory, pcpu) for pcpu in placement.pcpus}
    group = placement.group
    coordinated = inventory.topology.coordinated
    all_pcpus = placement.pcpus.union(
        *(coordinated.get(pcpu, frozenset()) for pcpu in placement.pcpus)
    )
    is_known = group is not None and group in inventory.groups
    return VCpuPlan(
        group=group if is_known else None,
        clock_groups=_groups_of(inventory, all_pcpus if is_known else placement.pcpus),
        core=cores.pop() if len(cores) == 1 else None,
        highest_khz=inventory.vcpu_window(rights, group).high_khz
        if group is not None and is_known
        else 0,
    )


def _groups_of(inventory: Inventory, pcpus: Iterable[PCpu]) -> tuple[int, ...]:
    groups = (inventory.topology.group_of(pcpu) for pcpu in pcpus)
    return tuple(sorted({group.number for group in groups if group is not None}))
