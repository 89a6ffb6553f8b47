# SPDX-License-Identifier: Apache-2.0
"""vmpower's own code in virtual time: policy engine, guest's decisions, arbiter."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.saving.governors import VCPUS, Contender, thresholds_of
from bench.saving.host import STEPS
from bench.saving.traffic import WORKLOADS
from orchestrator.guest.stepping import (
    POLLING,
    POLLING_INTERVAL_S,
    StepState,
    decide,
)
from orchestrator.limits import window_of
from orchestrator.monitor.arbiter import Domain, Group, VCpu
from orchestrator.policy.engine import PolicyEngine
from orchestrator.policy.kinds.packet_rate import PacketRate
from orchestrator.policy.kinds.traffic import Traffic
from orchestrator.policy.subject import (
    PolicyOrder,
    PolicySubject,
    Source,
    SourceKind,
    VCpuPlace,
)
from orchestrator.sampling.kinds import SampleKind
from orchestrator.sampling.packets import PacketReading, PacketSampler
from orchestrator.values.domain import DomainId, InterfaceKind, InterfaceSpec

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from bench.saving.queues import Queue
    from orchestrator.policy.kinds.contract import Policy
    from orchestrator.policy.subject import PolicyVote
    from orchestrator.sampling.contract import Lane, SampleTarget

_MIDNIGHT = datetime(2026, 1, 1, tzinfo=UTC)
_SOURCE = Source(SourceKind.OPERATOR, "bench")


class _Host:
    """The arbiter's view of the host: a clock group for each vCPU.

    Synchronization: one thread.
    """

    def __init__(self) -> None:
        self.vcpus: list[list[VCpu]] = []
        for number in range(len(WORKLOADS)):
            domain = Domain()
            domain.is_executing = domain.is_enforced = True
            self.vcpus.append(
                [
                    self._place(domain, vcpu, number * VCPUS + vcpu)
                    for vcpu in range(VCPUS)
                ]
            )

    @staticmethod
    def _place(domain: Domain, number: int, group: int) -> VCpu:
        vcpu = VCpu(domain, number)
        vcpu.place(Group(group, STEPS))
        vcpu.update_window()
        domain.vcpus[number] = vcpu
        return vcpu

    def grants(self) -> list[list[int]]:
        """Return the grant of each vCPU's group, in kHz."""
        return [
            [vcpu.group.target_khz() for vcpu in vcpus if vcpu.group is not None]
            for vcpus in self.vcpus
        ]


class _CountedPackets(PacketSampler):
    """Reads the simulated queues; rates are computed as for real interfaces."""

    def __init__(
        self, read: Callable[[DomainId], int], clock: Callable[[], float]
    ) -> None:
        super().__init__(Path("/nonexistent"), clock)
        self._read = read
        self._now_s = clock

    def find_obstacle(self, target: SampleTarget) -> str | None:  # noqa: ARG002
        return None

    def read(self, target: SampleTarget) -> PacketReading:
        packets = {
            interface.mac: self._read(target.uuid) for interface in target.interfaces
        }
        return PacketReading(self._now_s(), packets)


class EnginePolicy(Contender):
    """A policy of the host, for each domain."""

    def __init__(self, name: str, policy_of: Callable[[int], Policy[Any, Any]]) -> None:
        super().__init__()
        self.name = name
        self.period_s = policy_of(0).period_s
        self._host = _Host()
        self._queues: Sequence[Sequence[Queue]] = ()
        self._monotonic_s = 0.0
        self._uuids = [DomainId(f"domain-{it}") for it in range(len(WORKLOADS))]
        sampler = _CountedPackets(self._count, lambda: self._monotonic_s)
        self._engine = PolicyEngine(
            samplers={SampleKind.PACKETS: sampler},
            submit=_run_at_once,
            emit=self._vote,
        )
        for number, uuid in enumerate(self._uuids):
            self._engine.update_subject(_subject(uuid, number))
            order = PolicyOrder(policy=policy_of(number))
            self._engine.install(uuid, _SOURCE, order)

    def watch(self, queues: Sequence[Sequence[Queue]]) -> None:
        """Receive the queues, whose packets the sampler counts."""
        self._queues = queues

    def decide(self, hour: float, monotonic_s: float) -> None:
        """Let the engine decide."""
        self._monotonic_s = monotonic_s
        self._engine.tick(_MIDNIGHT + timedelta(hours=hour), monotonic_s)
        self.khz = self._host.grants()

    def _count(self, uuid: DomainId) -> int:
        queues = self._queues[self._uuids.index(uuid)]
        return int(sum(queue.arrived for queue in queues))

    def _vote(self, vote: PolicyVote) -> None:
        vcpu = self._host.vcpus[self._uuids.index(vote.uuid)][vote.vcpu]
        vcpu.set_policy_vote(vote.khz or 0)


def _run_at_once(
    lane: Lane,  # noqa: ARG001 - no threads
    uuid: DomainId | None,  # noqa: ARG001
    work: Callable[[], object],
) -> None:
    work()


def _subject(uuid: DomainId, number: int) -> PolicySubject:
    return PolicySubject(
        uuid=uuid,
        is_executing=True,
        places=tuple(
            VCpuPlace(
                vcpu=vcpu,
                group=number * VCPUS + vcpu,
                pcpus=frozenset({number * VCPUS + vcpu}),
                window=window_of(STEPS),
            )
            for vcpu in range(VCPUS)
        ),
        interfaces=(
            InterfaceSpec(
                mac=f"52:54:00:00:00:{number:02x}",
                kind=InterfaceKind.TAP,
                device=f"vnet{number}",
            ),
        ),
    )


class GuestAuto(Contender):
    """`vmpower-guest auto --dpdk` in each domain: each vCPU by its own busy cycles."""

    name = "vmpower: guest's auto"
    period_s = POLLING_INTERVAL_S

    def __init__(self) -> None:
        super().__init__()
        self._host = _Host()
        self._queues: Sequence[Sequence[Queue]] = ()
        self._states = [[StepState() for _ in range(VCPUS)] for _ in WORKLOADS]
        self._busy_s = [[0.0] * VCPUS for _ in WORKLOADS]

    def watch(self, queues: Sequence[Sequence[Queue]]) -> None:
        """Receive the queues, whose busy time the guests read."""
        self._queues = queues

    def decide(self, hour: float, monotonic_s: float) -> None:  # noqa: ARG002
        """Let each guest decide about each of its vCPUs, and send its requests."""
        for number, queues in enumerate(self._queues):
            for at, queue in enumerate(queues):
                load = (queue.busy_s - self._busy_s[number][at]) / self.period_s
                self._busy_s[number][at] = queue.busy_s
                self._follow(number, at, load)
        self.khz = self._host.grants()

    def _follow(self, number: int, at: int, load: float) -> None:
        decision = decide(load, self._states[number][at], POLLING)
        self._states[number][at] = decision.state
        if decision.unit is not None:
            vcpu = self._host.vcpus[number][at]
            vcpu.vote_khz = vcpu.apply_request(decision.unit) or vcpu.vote_khz


def traffic_policy() -> EnginePolicy:
    """Return the policy that has DPDK's three levels, and its thresholds."""

    def policy_of(number: int) -> Traffic:
        limits = thresholds_of(number)
        return Traffic(avg_pps=limits.medium_pps, max_pps=limits.high_pps)

    return EnginePolicy("vmpower: traffic", policy_of)


def packet_rate_policy() -> EnginePolicy:
    """Return the policy that is proportional to the rate, with its defaults."""

    def policy_of(number: int) -> PacketRate:
        capacity_pps = VCPUS * WORKLOADS[number].capacity_pps(STEPS.highest_khz)
        return PacketRate(capacity_pps=int(capacity_pps))

    return EnginePolicy("vmpower: packet-rate", policy_of)
