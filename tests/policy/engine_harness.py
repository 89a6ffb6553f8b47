# SPDX-License-Identifier: Apache-2.0
"""A policy engine without threads and clock, and counters that the test sets."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

from orchestrator.limits import window_of
from orchestrator.policy.engine import PolicyEngine
from orchestrator.policy.kinds.traffic import Traffic
from orchestrator.policy.kinds.workload import FixedWorkload, Workload
from orchestrator.policy.subject import (
    PolicyOrder,
    PolicySubject,
    PolicyVote,
    Source,
    SourceKind,
    VCpuPlace,
)
from orchestrator.sampling.branches import BranchCounter, BranchReading, BranchSampler
from orchestrator.sampling.contract import Lane, SamplingError
from orchestrator.sampling.kinds import SampleKind
from orchestrator.sampling.packets import PacketReading, PacketSampler
from orchestrator.sampling.vcpu_times import VCpuTimeReading, VCpuTimeSampler
from orchestrator.values.cpu_attributes import CpuAttributes
from orchestrator.values.domain import DomainId, InterfaceKind, InterfaceSpec
from orchestrator.values.energy_preference import EnergyPreference
from orchestrator.values.frequencies import table_from
from orchestrator.values.units import Microseconds
from tests.policy.vcpu_samples import NOON, STEPS

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

    from orchestrator.sampling.contract import SampleTarget
    from orchestrator.sampling.kinds import Samplers

UUID = DomainId("5579e6cd-caca-4c68-8934-da43e4863198")
OTHER = DomainId("6679e6cd-caca-4c68-8934-da43e4863198")
MAC, SECOND_MAC = "52:54:00:12:34:56", "52:54:00:12:34:57"
MAX, MED, MIN = STEPS[0], 2_000_000, STEPS[-1]
HIGH = FixedWorkload(workload=Workload.HIGH)
MEDIUM = FixedWorkload(workload=Workload.MEDIUM)
LOW = FixedWorkload(workload=Workload.LOW)
BY_PACKETS = Traffic(avg_pps=100, max_pps=1000, period_s=1.0)
FLOATING = 2
"""A vCPU of every domain here whose frequency cannot be set."""
RULE = Source(SourceKind.RULE, "dpdk-*[0]")
METADATA = Source(SourceKind.METADATA, "0")
OPERATOR = Source(SourceKind.OPERATOR, "fifo3")


def guest(channel: int) -> Source:
    return Source(SourceKind.GUEST, channel=channel)


def place(
    vcpu: int, group: int | None = None, steps: tuple[int, ...] = STEPS
) -> VCpuPlace:
    number = vcpu + 2 if group is None else group
    window = window_of(table_from(steps))
    return VCpuPlace(vcpu=vcpu, group=number, pcpus=frozenset({number}), window=window)


def subject(
    *places: VCpuPlace, uuid: DomainId = UUID, runs: bool = True
) -> PolicySubject:
    return PolicySubject(
        uuid=uuid,
        is_executing=runs,
        places=places or (place(0), place(1)),
        vcpus=frozenset(range(FLOATING + 1)),
        interfaces=tuple(
            InterfaceSpec(mac=mac, kind=InterfaceKind.TAP, device=f"vnet{number}")
            for number, mac in enumerate([MAC, SECOND_MAC])
        ),
    )


def order(
    policy: object,
    *vcpus: int,
    macs: frozenset[str] | None = None,
    us: int | None = None,
) -> PolicyOrder:
    return PolicyOrder(
        policy=policy,  # type: ignore[arg-type]
        vcpus=frozenset(vcpus) or None,
        macs=macs,
        attributes=held(us),
    )


def held(us: int | None = None, epp: str | None = None) -> CpuAttributes:
    return CpuAttributes(
        None if us is None else Microseconds(us),
        None if epp is None else EnergyPreference(epp),
    )


class HarnessPackets(PacketSampler):
    """Reads packets from a harness."""

    def __init__(self, harness: EngineHarness) -> None:
        self._harness = harness

    def find_obstacle(self, target: SampleTarget) -> str | None:
        return self._harness.obstacle_of(target)

    def read(self, target: SampleTarget) -> PacketReading:
        self._harness.on_read(SampleKind.PACKETS, target)
        packets = {i.mac: self._harness.packets[i.mac] for i in target.interfaces}
        return PacketReading(self._harness.now_s, packets)


class HarnessBranches(BranchSampler):
    """Reads branches from a harness."""

    def __init__(self, harness: EngineHarness) -> None:
        self._harness = harness

    def find_obstacle(self, target: SampleTarget) -> str | None:
        return self._harness.obstacle_of(target)

    def keep(self, targets: Collection[SampleTarget]) -> None:
        self._harness.kept = {pcpu for target in targets for pcpu in target.pcpus}

    def read(self, target: SampleTarget) -> BranchReading:
        self._harness.on_read(SampleKind.BRANCHES, target)
        read = {pcpu: self._harness.branches[pcpu] for pcpu in target.pcpus}
        return BranchReading(self._harness.now_s, read)


class HarnessVCpuTimes(VCpuTimeSampler):
    """Reads run times of vCPUs from a harness."""

    def __init__(self, harness: EngineHarness) -> None:
        self._harness = harness

    def find_obstacle(self, target: SampleTarget) -> str | None:
        return self._harness.obstacle_of(target)

    def read(self, target: SampleTarget) -> VCpuTimeReading:
        self._harness.on_read(SampleKind.VCPU_TIME, target)
        return self._run_times()

    def read_together(
        self, targets: Collection[SampleTarget]
    ) -> dict[DomainId, VCpuTimeReading]:
        uuids = {target.uuid for target in targets}
        if self._harness.batch_error is not None:
            raise self._harness.batch_error
        self._harness.batches.append(uuids)
        return {uuid: self._run_times() for uuid in uuids - self._harness.left_out}

    def _run_times(self) -> VCpuTimeReading:
        return VCpuTimeReading(self._harness.now_s, dict(self._harness.run_ns))


class EngineHarness:
    """An engine, a host whose counters the test sets, and a clock that it moves."""

    def __init__(self) -> None:
        self.now_s = 1000.0
        self.packets = dict.fromkeys([MAC, SECOND_MAC], 0)
        self.run_ns = {0: 0, 1: 0}
        self.branches: dict[int, BranchCounter] = {}
        self.obstacle: str | None = None
        self.failure: str | None = None
        self.reads: list[tuple[SampleKind, SampleTarget]] = []
        """Of one domain each."""
        self.batches: list[set[DomainId]] = []
        """The domains of each call for many."""
        self.left_out: set[DomainId] = set()
        """Domains that a call for many does not report."""
        self.batch_error: Exception | None = None
        self.kept: set[int] | None = None
        self.votes: list[PolicyVote] = []
        self.held: list[Callable[[], object]] | None = None
        self.woken = 0
        samplers: Samplers = {
            SampleKind.PACKETS: HarnessPackets(self),
            SampleKind.BRANCHES: HarnessBranches(self),
            SampleKind.VCPU_TIME: HarnessVCpuTimes(self),
        }
        self.engine = PolicyEngine(
            samplers=samplers,
            submit=self.submit,
            emit=self.votes.append,
            wake=self.wake,
        )
        self.engine.update_subject(subject())

    def wake(self) -> None:
        self.woken += 1

    def submit(
        self, lane: Lane, uuid: DomainId | None, work: Callable[[], object]
    ) -> None:
        assert uuid is not None or lane is Lane.LIBVIRT
        if self.held is None:
            work()
        else:
            self.held.append(work)

    def obstacle_of(self, target: SampleTarget) -> str | None:
        assert target.uuid in {UUID, OTHER}
        return self.obstacle

    def on_read(self, kind: SampleKind, target: SampleTarget) -> None:
        self.reads.append((kind, target))
        if self.failure is not None:
            raise SamplingError(self.failure)

    def tick(self, after_s: float = 0.0) -> float | None:
        self.now_s += after_s
        return self.engine.tick(NOON + timedelta(seconds=self.now_s - 1000), self.now_s)

    def new_votes(self) -> dict[int, int | None]:
        """Return the last vote of each vCPU that voted since this was asked last."""
        votes = {vote.vcpu: vote.khz for vote in self.votes if vote.uuid == UUID}
        self.votes.clear()
        return votes

    def problem(self) -> str:
        (status,) = self.engine.statuses()
        return status.problem
