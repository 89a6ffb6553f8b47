"""One installed policy: its memory, its last reading, what it wants now; pure."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from orchestrator.policy.kinds.contract import PolicyView, VCpuSight
from orchestrator.policy.kinds.want import resolve_khz
from orchestrator.sampling.question import Need, Question
from orchestrator.sampling.readings import (
    BranchReading,
    TrafficReading,
    UtilisationReading,
    branch_count,
    packets_per_s,
    utilisation,
)

if TYPE_CHECKING:
    from datetime import datetime

    from orchestrator.policy.sample_requests import Asker
    from orchestrator.policy.subject import PolicyOrder, Tenant, VCpuPlace
    from orchestrator.sampling.readings import Reading


@dataclass(slots=True, kw_only=True)
class Installation:
    """A policy at work for one domain.

    Synchronization: one thread, the engine's.
    """

    order: PolicyOrder
    memory: Any
    due_s: float = 0.0
    """When to decide next, by the monotonic clock."""
    asker: Asker | None = None
    """Of the question under way; None: none is."""
    asked_s: float = 0.0
    """Since when it has been under way, by the monotonic clock."""
    is_blind: bool = False
    """Whether the question under way has been given up."""
    reading: Reading | None = None
    """The last one."""
    wants_khz: dict[int, int | None] = field(default_factory=dict)
    problem: str = ""

    def places(self, tenant: Tenant) -> tuple[VCpuPlace, ...]:
        """Return the vCPUs that it is about and whose clock can be set."""
        vcpus = self.order.vcpus
        return tuple(p for p in tenant.places if vcpus is None or p.vcpu in vcpus)

    def question(self, tenant: Tenant) -> Question | None:
        """Return what to read before deciding; None: nothing."""
        need, macs = self.order.policy.need, self.order.macs
        if need is None:
            return None
        interfaces = tenant.interfaces if need is Need.TRAFFIC else ()
        places = self.places(tenant) if need is Need.BRANCHES else ()
        return Question(
            need=need,
            uuid=tenant.uuid,
            interfaces=tuple(i for i in interfaces if macs is None or i.mac in macs),
            pcpus=frozenset().union(*(place.pcpus for place in places)),
        )

    def decide(
        self, tenant: Tenant, new: Reading | None, now: datetime, monotonic_s: float
    ) -> None:
        """Let the policy decide, and note what it wants.

        Args:
            tenant: the domain.
            new: what was read for it; None: nothing is known, or needed.
            now: the wall time, aware.
            monotonic_s: for intervals.
        """
        old, self.reading = self.reading, new
        places = self.places(tenant)
        view = PolicyView(
            now=now,
            monotonic_s=monotonic_s,
            packets_per_s=packets_per_s(old, new)
            if isinstance(old, TrafficReading) and isinstance(new, TrafficReading)
            else None,
            vcpus=tuple(_sight(place, old, new) for place in places),
        )
        wants, self.memory = self.order.policy.decide(view, self.memory)
        self.wants_khz = {
            place.vcpu: resolve_khz(
                wants[place.vcpu], place.steps_khz, self.wants_khz.get(place.vcpu)
            )
            for place in places
        }


def _sight(place: VCpuPlace, old: Reading | None, new: Reading | None) -> VCpuSight:
    load, branches = None, None
    if isinstance(old, UtilisationReading) and isinstance(new, UtilisationReading):
        load = utilisation(old, new, place.vcpu)
    if isinstance(old, BranchReading) and isinstance(new, BranchReading):
        branches = branch_count(old, new, place.pcpus)
    return VCpuSight(
        vcpu=place.vcpu,
        steps_khz=place.steps_khz,
        utilisation=load,
        branches=branches,
    )
