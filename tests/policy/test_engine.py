"""The engine, tick by tick: no thread, no clock."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from orchestrator.domain import DomainId
from orchestrator.interface import InterfaceKind, InterfaceSpec
from orchestrator.policy.branch_ratio import BranchRatio
from orchestrator.policy.contract import Need
from orchestrator.policy.engine import ANSWER_WITHIN_S, PolicyEngine, next_due_s
from orchestrator.policy.readings import (
    BranchCounter,
    BranchReading,
    TrafficReading,
    UtilisationReading,
)
from orchestrator.policy.refusal import PolicyError, SamplingError
from orchestrator.policy.tenant import (
    PolicyOrder,
    PolicyVote,
    Source,
    SourceKind,
    Tenant,
    VCpuPlace,
)
from orchestrator.policy.time_of_day import TimeOfDay
from orchestrator.policy.traffic import Traffic
from orchestrator.policy.utilisation import Utilisation
from orchestrator.policy.workload import FixedWorkload
from orchestrator.policy_rule import Workload
from orchestrator.timetable import whole_hours
from tests.policy.sights import NOON, STEPS

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

    from orchestrator.policy.readings import Reading
    from orchestrator.policy.tenant import Question

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


class Bench:
    """An engine, a host whose counters the test sets, and a clock that it moves."""

    def __init__(self) -> None:
        self.now_s = 1000.0
        self.packets = dict.fromkeys([MAC, SECOND_MAC], 0)
        self.run_ns = {0: 0, 1: 0}
        self.branches: dict[int, BranchCounter] = {}
        self.obstacle: str | None = None
        self.failure: str | None = None
        self.questions: list[Question] = []
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
        self, question: Question, serial: int, work: Callable[[], object]
    ) -> None:
        assert question.uuid == UUID
        assert serial > 0
        if self.held is None:
            work()
        else:
            self.held.append(work)

    def find_obstacle(self, question: Question) -> str | None:
        assert question.uuid == UUID
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
                return UtilisationReading(self.now_s, dict(self.run_ns))
            case Need.BRANCHES:
                read = {pcpu: self.branches[pcpu] for pcpu in question.pcpus}
                return BranchReading(self.now_s, read)

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


@pytest.fixture
def bench() -> Bench:
    return Bench()


def test_a_policy_votes_once_and_again_only_when_it_changes_its_mind(
    bench: Bench,
) -> None:
    policy = TimeOfDay(busy=whole_hours([12]), quiet=whole_hours([13]))
    bench.engine.install(UUID, RULE, order(policy))
    assert bench.tick() == policy.period_s
    assert bench.new_votes() == {0: MAX, 1: MAX}
    for _ in range(5):
        bench.tick(1.0)
    assert bench.new_votes() == {}
    bench.tick(3600.0)
    assert bench.new_votes() == {0: MIN, 1: MIN}


def test_a_policy_is_asked_at_its_own_period(bench: Bench) -> None:
    bench.engine.install(UUID, RULE, order(BY_PACKETS))
    assert bench.tick() == 1.0
    assert bench.tick(0.75) == 0.25
    assert len(bench.questions) == 1
    assert bench.tick(0.25) == 1.0
    assert len(bench.questions) == 2


def test_without_policies_nobody_need_tick(bench: Bench) -> None:
    assert bench.tick() is None


def test_dts_traffic_decides_from_the_second_look_on(bench: Bench) -> None:
    bench.engine.install(UUID, RULE, order(BY_PACKETS))
    bench.tick()
    assert bench.new_votes() == {}
    for packets, khz in [(2000, MAX), (500, MED), (50, MIN)]:
        bench.packets[MAC] += packets
        bench.tick(1.0)
        assert bench.new_votes() == {0: khz, 1: khz}


def test_f16_only_the_interfaces_that_are_named_count(bench: Bench) -> None:
    bench.engine.install(UUID, RULE, order(BY_PACKETS, macs=frozenset({SECOND_MAC})))
    bench.tick()
    bench.packets[MAC] += 9999
    bench.packets[SECOND_MAC] += 150
    bench.tick(1.0)
    assert bench.new_votes() == {0: MED, 1: MED}


def test_utilisation_of_each_vcpu_decides_for_itself(bench: Bench) -> None:
    bench.engine.install(UUID, RULE, order(Utilisation(calm_samples=1)))
    bench.tick()
    bench.run_ns[0] += 900_000_000
    bench.run_ns[1] += 100_000_000
    bench.tick(1.0)
    assert bench.new_votes() == {0: STEPS[0], 1: STEPS[1]}


def test_branch_ratio_looks_at_the_cpus_that_its_vcpus_are_pinned_to(
    bench: Bench,
) -> None:
    bench.branches = {2: BranchCounter(0, 0, 0), 3: BranchCounter(0, 0, 0)}
    policy = BranchRatio(window=1, period_s=1.0)
    bench.engine.install(UUID, RULE, order(policy))
    assert bench.kept == {2, 3}
    bench.tick()
    bench.branches = {
        2: BranchCounter(10**9, 0, 10**9),
        3: BranchCounter(10**9, 10**8, 10**9),
    }
    bench.tick(1.0)
    assert bench.new_votes() == {0: MIN, 1: MAX}


def test_f18_s12_counters_are_closed_when_the_last_policy_has_ended(
    bench: Bench,
) -> None:
    for channel in (0, 1):
        policy = order(BranchRatio(), channel)
        bench.engine.install(UUID, guest(channel), policy)
        bench.engine.install(UUID, guest(channel), policy)
    assert bench.kept == {2, 3}
    bench.engine.end_guest(UUID, 0)
    assert bench.kept == {3}
    bench.engine.end_guest(UUID)
    assert bench.kept == set()


def test_what_can_never_work_is_refused_with_its_reason(bench: Bench) -> None:
    bench.obstacle = "this machine offers no counter of branches"
    with pytest.raises(PolicyError, match="branch-ratio: this machine offers no"):
        bench.engine.install(UUID, guest(0), order(BranchRatio(), 0))
    assert not list(bench.engine.statuses())
    assert bench.kept == set()


def test_a_domain_that_does_not_run_has_no_policies(bench: Bench) -> None:
    with pytest.raises(PolicyError, match="does not run"):
        bench.engine.install(OTHER, guest(0), order(LOW, 0))


def test_who_cannot_see_withdraws_its_votes_and_says_why(bench: Bench) -> None:
    bench.engine.install(UUID, RULE, order(BY_PACKETS))
    bench.tick()
    bench.tick(1.0)
    assert bench.new_votes() == {0: MIN, 1: MIN}
    bench.failure = "vnet0 is gone"
    bench.tick(1.0)
    assert bench.new_votes() == {0: None, 1: None}
    assert bench.problem() == "vnet0 is gone"
    bench.failure = None
    bench.tick(1.0)
    assert bench.new_votes() == {}
    bench.tick(1.0)
    assert bench.new_votes() == {0: MIN, 1: MIN}
    assert bench.problem() == ""


def test_a_question_that_hangs_is_asked_once_and_given_up_after_a_while(
    bench: Bench,
) -> None:
    bench.engine.install(UUID, RULE, order(BY_PACKETS))
    bench.tick()
    bench.tick(1.0)
    bench.held = []
    bench.tick(1.0)
    bench.new_votes()
    for _ in range(round(ANSWER_WITHIN_S) - 1):
        bench.tick(1.0)
    assert bench.new_votes() == {}
    bench.tick(1.0)
    assert bench.new_votes() == {0: None, 1: None}
    assert bench.problem() == "no answer for 5 s"
    (hung,) = bench.held
    woken = bench.woken
    hung()
    assert bench.woken == woken + 1
    bench.held = None
    bench.tick()
    assert bench.problem() == ""
    bench.tick(1.0)
    assert bench.new_votes() == {0: MIN, 1: MIN}


def test_one_that_hangs_delays_nobody_else(bench: Bench) -> None:
    bench.held = []
    bench.engine.install(UUID, RULE, order(BY_PACKETS, 0))
    bench.engine.install(UUID, OPERATOR, order(LOW, 1))
    bench.tick()
    assert bench.new_votes() == {1: MIN}


def test_an_answer_to_a_policy_that_was_replaced_is_not_heard(bench: Bench) -> None:
    bench.held = []
    bench.engine.install(UUID, guest(0), order(BY_PACKETS, 0))
    bench.tick()
    bench.engine.install(UUID, guest(0), order(Traffic(avg_pps=1, max_pps=2), 0))
    bench.tick()
    first, second = bench.held
    first()
    bench.tick()
    bench.packets[MAC] += 10
    bench.tick(0.5)
    second()
    bench.tick()
    # One reading is not two: the first one was asked for by somebody else.
    assert bench.new_votes() == {}


def test_a_guest_s_policy_is_one_vote_beside_the_host_s(bench: Bench) -> None:
    bench.engine.install(UUID, RULE, order(LOW))
    bench.engine.install(UUID, guest(0), order(MEDIUM, 0))
    bench.tick()
    assert bench.new_votes() == {0: MED, 1: MIN}
    bench.engine.install(UUID, RULE, order(HIGH))
    bench.tick()
    assert bench.new_votes() == {0: MAX, 1: MAX}


def test_an_operator_stands_above_rules_and_rules_above_metadata(bench: Bench) -> None:
    bench.engine.install(UUID, METADATA, order(HIGH))
    bench.tick()
    assert bench.new_votes() == {0: MAX, 1: MAX}
    bench.engine.install(UUID, RULE, order(MEDIUM))
    bench.tick()
    assert bench.new_votes() == {0: MED, 1: MED}
    bench.engine.install(UUID, OPERATOR, order(LOW, 0))
    bench.tick()
    assert bench.new_votes() == {0: MIN}
    assert bench.engine.remove(UUID, OPERATOR)
    assert not bench.engine.remove(UUID, OPERATOR)
    assert bench.new_votes() == {0: MED}
    assert bench.engine.apply_standing(UUID, {METADATA: order(HIGH)}) == {}
    bench.tick()
    assert bench.new_votes() == {0: MAX, 1: MAX}


def test_policies_of_one_period_are_served_in_one_tick(bench: Bench) -> None:
    bench.engine.install(UUID, RULE, order(BY_PACKETS))
    bench.tick(0.1)
    bench.engine.install(UUID, OPERATOR, order(Utilisation()))
    assert bench.tick(0.3) == pytest.approx(0.6)
    bench.questions.clear()
    assert bench.tick(0.6) == pytest.approx(1.0)
    assert len(bench.questions) == 2


@pytest.mark.parametrize("now_s", [0.0, 0.2, 0.5, 0.7, 1.5, 1000.49])
def test_two_decisions_are_never_nearer_than_half_a_period(now_s: float) -> None:
    due_s = next_due_s(now_s, 1.0)
    assert due_s % 1.0 == 0
    assert 0.5 <= due_s - now_s <= 1.5


def test_the_vcpus_that_policies_are_about_are_known(bench: Bench) -> None:
    assert bench.engine.covered(UUID) == frozenset()
    bench.engine.install(UUID, guest(0), order(LOW, 0, 7))
    assert bench.engine.covered(UUID) == {0}
    bench.engine.install(UUID, RULE, order(LOW))
    assert bench.engine.covered(UUID) == {0, 1}
    bench.engine.forget(UUID)
    assert bench.engine.covered(UUID) == frozenset()


def test_f7_votes_end_with_the_channel_over_which_a_policy_came(bench: Bench) -> None:
    bench.engine.install(UUID, guest(0), order(LOW, 0))
    bench.engine.install(UUID, guest(1), order(LOW, 1))
    bench.tick()
    bench.new_votes()
    assert bench.engine.end_guest(UUID, 1)
    assert bench.new_votes() == {1: None}
    assert not bench.engine.end_guest(UUID, 1)
    assert bench.engine.end_guest(UUID)
    assert bench.new_votes() == {0: None}


def test_a_channel_s_end_ends_nobody_else_s_policies(bench: Bench) -> None:
    bench.engine.install(UUID, RULE, order(LOW))
    bench.tick()
    bench.new_votes()
    assert not bench.engine.end_guest(UUID)
    assert bench.new_votes() == {}


def test_f7_votes_end_with_the_domain(bench: Bench) -> None:
    bench.engine.install(UUID, RULE, order(LOW))
    bench.tick()
    bench.new_votes()
    bench.engine.forget(UUID)
    assert bench.new_votes() == {0: None, 1: None}
    assert bench.tick(10.0) is None
    bench.engine.forget(UUID)
    assert bench.new_votes() == {}


def test_an_answer_that_comes_after_the_domain_s_end_is_not_heard(bench: Bench) -> None:
    bench.held = []
    bench.engine.install(UUID, RULE, order(BY_PACKETS))
    bench.tick()
    bench.engine.forget(UUID)
    bench.held[0]()
    assert bench.tick() is None


def test_a_guest_s_new_policy_takes_its_vcpus_out_of_its_others(bench: Bench) -> None:
    bench.engine.install(UUID, guest(0), order(HIGH, 0, 1))
    bench.tick()
    bench.engine.install(UUID, guest(1), order(LOW, 1))
    bench.tick()
    assert bench.new_votes() == {0: MAX, 1: MIN}
    bench.engine.install(UUID, guest(2), order(LOW, 0, 1))
    bench.tick()
    assert bench.new_votes() == {0: MIN}
    assert [status.source for status in bench.engine.statuses()] == [guest(2)]


def test_s10_s13_the_same_policy_again_changes_nothing(bench: Bench) -> None:
    bench.engine.install(UUID, guest(0), order(BY_PACKETS, 0))
    bench.tick()
    bench.tick(1.0)
    assert bench.new_votes() == {0: MIN}
    questions = len(bench.questions)
    for _ in range(1000):
        bench.engine.install(UUID, guest(0), order(BY_PACKETS, 0))
        bench.tick()
    assert bench.new_votes() == {}
    assert len(bench.questions) == questions
    assert len(list(bench.engine.statuses())) == 1


def test_replacing_a_policy_withdraws_no_vote_until_the_new_one_decides(
    bench: Bench,
) -> None:
    bench.engine.install(UUID, guest(0), order(LOW, 0))
    bench.engine.install(UUID, OPERATOR, order(HIGH, 1))
    bench.tick()
    assert bench.new_votes() == {0: MIN, 1: MAX}
    bench.held = []
    bench.engine.install(UUID, guest(0), order(BY_PACKETS, 0))
    bench.engine.install(UUID, OPERATOR, order(MEDIUM, 1))
    bench.tick()
    assert bench.new_votes() == {1: MED}


def test_a_paused_domain_keeps_its_votes_and_is_not_looked_at(bench: Bench) -> None:
    bench.engine.install(UUID, RULE, order(BY_PACKETS))
    bench.tick()
    bench.tick(1.0)
    bench.new_votes()
    bench.engine.define(tenant(runs=False))
    questions = len(bench.questions)
    assert bench.tick(60.0) is None
    assert bench.new_votes() == {}
    assert len(bench.questions) == questions
    bench.packets[MAC] += 10**9
    bench.engine.define(tenant())
    assert bench.tick() == 1.0
    assert len(bench.questions) == questions + 1
    # What was counted before the pause is not compared with what is counted now.
    assert bench.new_votes() == {0: None, 1: None}
    bench.tick(1.0)
    assert bench.new_votes() == {0: MIN, 1: MIN}


def test_new_bounds_are_voted_at_once(bench: Bench) -> None:
    bench.engine.install(UUID, RULE, order(HIGH))
    bench.tick()
    bench.new_votes()
    bench.engine.define(tenant(place(0, steps=STEPS[1:]), place(1)))
    assert bench.tick() is not None
    assert bench.new_votes() == {0: STEPS[1]}


def test_a_vcpu_in_another_group_votes_anew(bench: Bench) -> None:
    bench.engine.install(UUID, RULE, order(LOW))
    bench.tick()
    bench.new_votes()
    bench.engine.define(tenant(place(0, group=7), place(1)))
    bench.tick()
    assert bench.new_votes() == {0: MIN}


def test_a_vcpu_that_floats_has_no_say_until_it_is_pinned_again(bench: Bench) -> None:
    bench.engine.install(UUID, RULE, order(LOW))
    bench.tick()
    bench.new_votes()
    bench.engine.define(tenant(place(1)))
    bench.tick()
    assert bench.new_votes() == {}
    bench.engine.define(tenant())
    bench.tick()
    assert bench.new_votes() == {0: MIN}


def test_rules_are_made_so_and_what_cannot_be_is_told(bench: Bench) -> None:
    engine = bench.engine
    first, second = (Source(SourceKind.RULE, name) for name in ("a[0]", "b[1]"))
    assert engine.apply_standing(
        UUID, {first: order(LOW, 0), second: order(LOW, 1)}
    ) == {first: None, second: None}
    bench.tick()
    assert bench.new_votes() == {0: MIN, 1: MIN}
    bench.obstacle = "no counter"
    problems = engine.apply_standing(
        UUID, {first: order(BranchRatio(), 0), second: order(HIGH, 1)}
    )
    assert problems == {first: "branch-ratio: no counter", second: None}
    bench.tick()
    assert bench.new_votes() == {0: None, 1: MAX}
    assert engine.apply_standing(UUID, {}) == {}
    assert bench.new_votes() == {1: None}


def test_as_is_keeps_what_the_policy_wanted_before(bench: Bench) -> None:
    policy = TimeOfDay(quiet=whole_hours([12]))
    bench.engine.install(UUID, RULE, order(policy))
    bench.tick()
    assert bench.new_votes() == {0: MIN, 1: MIN}
    bench.tick(3600.0)
    assert bench.new_votes() == {}


def test_statuses_say_what_each_policy_wants(bench: Bench) -> None:
    bench.engine.install(UUID, guest(0), order(LOW, 0))
    bench.tick()
    (status,) = bench.engine.statuses()
    assert (status.uuid, status.source, status.order.policy) == (UUID, guest(0), LOW)
    assert (status.wants_khz, status.problem) == ({0: MIN}, "")
