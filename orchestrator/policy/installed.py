# SPDX-License-Identifier: Apache-2.0
"""One installed policy: its memory, its last reading and what it wants now; pure."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from orchestrator.policy.kinds.contract import PolicyView, VCpuSample
from orchestrator.policy.kinds.want import resolve_khz
from orchestrator.sampling.contract import SampleTarget

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from orchestrator.policy.sample_requests import RequestId
    from orchestrator.policy.schedule import Outlook
    from orchestrator.policy.subject import PolicyOrder, PolicySubject, VCpuPlace
    from orchestrator.sampling.contract import Sampler


@dataclass(slots=True, kw_only=True)
class Installation:
    """A policy that is in force for one domain.

    Synchronization: one thread, the engine's.
    """

    order: PolicyOrder
    outlook: Outlook
    memory: Any
    vcpus: frozenset[int] = frozenset()
    """The vCPUs that it applies to."""
    places: tuple[VCpuPlace, ...] = ()
    """Those whose frequency can be set; none if it does not vote."""
    target: SampleTarget | None = None
    """What to sample before each decision; None: nothing."""
    due_s: float = 0.0
    """When to decide next, by the monotonic clock."""
    request_id: RequestId | None = None
    """The pending sample request; None: there is none."""
    requested_s: float = 0.0
    """When it was sent, by the monotonic clock."""
    is_overdue: bool = False
    """Whether the pending request has been given up."""
    reading: Any = None
    """The last one, of the policy's sampler; None: there is none."""
    wants_khz: dict[int, int | None] = field(default_factory=dict)
    """What it wants; until its first decision, what the policy before it wanted."""
    has_decided: bool = False
    problem: str = ""

    def attach(self, subject: PolicySubject) -> None:
        """Determine the vCPUs and the sample target, for a domain that has changed."""
        vcpus, macs = self.order.vcpus, self.order.macs
        self.vcpus = subject.vcpus if vcpus is None else subject.vcpus & vcpus
        places = subject.places if self.order.policy.is_voting() else ()
        self.places = tuple(
            place for place in places if vcpus is None or place.vcpu in vcpus
        )
        self.target = None
        if self.order.policy.needs_sample:
            self.target = SampleTarget(
                uuid=subject.uuid,
                interfaces=tuple(
                    interface
                    for interface in subject.interfaces
                    if macs is None or interface.mac in macs
                ),
                pcpus=frozenset[int]().union(*(place.pcpus for place in self.places)),
            )

    @property
    def shown_wants(self) -> dict[int, int | None]:
        """What it wants, by vCPU; without a vote, nothing for each of its vCPUs."""
        if self.order.policy.is_voting():
            return dict(self.wants_khz)
        return dict.fromkeys(self.vcpus)

    def follow(self, replaced: Installation) -> None:
        """Keep the wants of the policy that this one replaces until it decides.

        So no vote is withdrawn and repeated at once. A policy that samples cannot
        decide at once, and begins without wants.
        """
        if self.target is None:
            mine = {place.vcpu for place in self.places}
            self.wants_khz = {
                vcpu: khz for vcpu, khz in replaced.wants_khz.items() if vcpu in mine
            }

    def decide(
        self,
        sampler: Sampler[Any, Any] | None,
        new: Any,  # noqa: ANN401 - a reading of the sampler
        now: datetime,
        monotonic_s: float,
    ) -> None:
        """Let the policy decide, and store what it wants.

        Args:
            sampler: compares readings; None: the policy needs no sample.
            new: what was read; None: nothing is known, or needed.
            now: the wall time, aware.
            monotonic_s: for intervals.
        """
        old, self.reading = self.reading, new
        values: Mapping[int, Any] = {}
        if sampler is not None and old is not None and new is not None:
            cpus = {place.vcpu: place.pcpus for place in self.places}
            values = sampler.between(old, new, cpus)
        view = PolicyView(
            now=now,
            monotonic_s=monotonic_s,
            vcpus=tuple(
                VCpuSample(
                    vcpu=place.vcpu,
                    window=place.window,
                    value=values.get(place.vcpu),
                )
                for place in self.places
            ),
        )
        wants, self.memory = self.order.policy.decide(view, self.memory)
        # What the replaced policy wanted is not "as before": this one starts again.
        before_khz = self.wants_khz if self.has_decided else {}
        self.has_decided = True
        self.wants_khz = {
            place.vcpu: resolve_khz(
                wants[place.vcpu], place.window, before_khz.get(place.vcpu)
            )
            for place in self.places
        }
