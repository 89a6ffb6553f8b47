"""An engine at the harness: no thread, no clock, counters that the test sets."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

from orchestrator.policy.engine import PolicyEngine
from orchestrator.policy.kinds.traffic import Traffic
from orchestrator.policy.kinds.workload import FixedWorkload
from orchestrator.policy.rule import Workload
from orchestrator.policy.subject import (
    PolicyOrder,
    PolicyVote,
    Source,
    SourceKind,
    Tenant,
    VCpuPlace,
)
from orchestrator.sampling.question import Need, SamplingError
from orchestrator.sampling.readings import (
    BranchCounter,
    BranchReading,
    TrafficReading,
    UtilisationReading,
)
from orchestrator.values.domain import DomainId, InterfaceKind, InterfaceSpec
from tests.policy.vcpu_samples import NOON, STEPS

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

    from orchestrator.sampling.question import Question
    from orchestrator.sampling.readings import Reading

UUID = DomainId("5579e6cd-caca-4c68-8934-da43e4863198")
OTHER = DomainId("6679e6cd-caca-4c68-8934-da43e4863198")
MAC, SECOND_MAC = "52:54:00:12:34:56", "52:54:00:12:34:57"
MAX, MED, MIN = STEPS[0], 2_000_000, STEPS[-1]
HIGH = FixedWorkload(workload=Workload.HIGH)
MEDIUM = FixedWorkload(workload=Workload.MEDIUM)
LOW = FixedWorkload(workload=Workload.LOW)
BY_PACKETS = Traffic(avg_pps=100, max_pps=1000, period_s=1.0)
RULE = Source(SourceKind.RULE, "dpdk-*[0]")
METADATA = Source(SourceKind.METADATA, "0")
OPERATOR = Source(SourceKind.OPERATOR, "fifo3")


def guest(channel: int) -> Source:
    return Source(SourceKind.GUEST, channel=channel)


def place(
    vcpu: int, group: int | None = None, steps: tuple[int, ...] = STEPS
) -> VCpuPlace:
    number = vcpu + 2 if group is None else group
    return VCpuPlace(
        vcpu=vcpu, group=number, pcpus=frozenset({number}), steps_khz=steps
    )


def tenant(*places: VCpuPlace, uuid: DomainId = UUID, runs: bool = True) -> Tenant:
    return Tenant(
        uuid=uuid,
        is_executing=runs,
        places=places or (place(0), place(1)),
        interfaces=tuple(
            InterfaceSpec(mac=mac, kind=InterfaceKind.TAP, device=f"vnet{number}")
            for number, mac in enumerate([MAC, SECOND_MAC])
        ),
    )


def order(
    policy: object, *vcpus: int, macs: frozenset[str] | None = None
) -> PolicyOrder:
    return PolicyOrder(
        policy=policy,  # type: ignore[arg-type]
        vcpus=frozenset(vcpus) or None,
        macs=macs,
    )


class EngineHarness:
    """An engine, a host whose counters the test sets, and a clock that it moves."""

    def __init__(self) -> None:
        self.now_s = 1000.0
        self.packets = dict.fromkeys([MAC, SECOND_MAC], 0)
        self.run_ns = {0: 0, 1: 0}
        self.branches: dict[int, BranchCounter] = {}
        self.obstacle: str | None = None
        self.failure: str | None = None
        self.questions: list[Question] = []
        self.calls_for_many: list[set[DomainId]] = []
        self.untold: set[DomainId] = set()
        """Domains of which a call for many tells nothing."""
        self.kept: set[int] | None = None
        self.votes: list[PolicyVote] = []
        self.held: list[Callable[[], object]] | None = None
        self.woken = 0
        self.engine = PolicyEngine(
            sampling=self, submit=self.submit, emit=self.votes.append, wake=self.wake
        )
        self.engine.define(tenant())

    def wake(self) -> None:
        self.woken += 1

    def submit(
        self, need: Need, uuid: DomainId | None, work: Callable[[], object]
    ) -> None:
        assert uuid is not None or need is Need.UTILISATION
        if self.held is None:
            work()
        else:
            self.held.append(work)

    def find_obstacle(self, question: Question) -> str | None:
        assert question.uuid in {UUID, OTHER}
        return self.obstacle

    def keep(self, pcpus: Collection[int]) -> None:
        self.kept = set(pcpus)

    def read(self, question: Question) -> Reading:
        self.questions.append(question)
        if self.failure is not None:
            raise SamplingError(self.failure)
        match question.need:
            case Need.TRAFFIC:
                packets = {i.mac: self.packets[i.mac] for i in question.interfaces}
                return TrafficReading(self.now_s, packets)
            case Need.UTILISATION:
                return self.run_times()
            case Need.BRANCHES:
                read = {pcpu: self.branches[pcpu] for pcpu in question.pcpus}
                return BranchReading(self.now_s, read)

    def read_together(self, questions: Collection[Question]) -> dict[DomainId, Reading]:
        assert {question.need for question in questions} == {Need.UTILISATION}
        uuids = {question.uuid for question in questions}
        self.calls_for_many.append(uuids)
        return {uuid: self.run_times() for uuid in uuids - self.untold}

    def run_times(self) -> UtilisationReading:
        return UtilisationReading(self.now_s, dict(self.run_ns))

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
