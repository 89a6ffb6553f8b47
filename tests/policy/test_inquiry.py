"""What policies ask, how long they wait, and what they hear."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from orchestrator.policy.engine import ANSWER_WITHIN_S, next_due_s
from orchestrator.policy.traffic import Traffic
from orchestrator.policy.utilisation import Utilisation
from tests.policy.bench import (
    BY_PACKETS,
    LOW,
    MAC,
    MIN,
    OPERATOR,
    OTHER,
    RULE,
    UUID,
    guest,
    order,
    tenant,
)
from tests.policy.sights import STEPS

if TYPE_CHECKING:
    from orchestrator.domain import DomainId
    from tests.policy.bench import Bench


def test_a_policy_is_asked_at_its_own_period(bench: Bench) -> None:
    bench.engine.install(UUID, RULE, order(BY_PACKETS))
    assert bench.tick() == 1.0
    assert bench.tick(0.75) == 0.25
    assert len(bench.questions) == 1
    assert bench.tick(0.25) == 1.0
    assert len(bench.questions) == 2


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


def test_an_answer_that_comes_after_the_domain_s_end_is_not_heard(bench: Bench) -> None:
    bench.held = []
    bench.engine.install(UUID, RULE, order(BY_PACKETS))
    bench.tick()
    bench.engine.forget(UUID)
    bench.held[0]()
    assert bench.tick() is None


def at_work(bench: Bench, *uuids: DomainId, calm_samples: int = 1) -> None:
    """Have domains whose vCPUs idle, looked at once."""
    for uuid in uuids:
        bench.engine.define(tenant(uuid=uuid))
        policy = Utilisation(calm_samples=calm_samples)
        bench.engine.install(uuid, RULE, order(policy))
    bench.tick()


def test_all_domains_that_want_run_times_are_asked_with_one_call(bench: Bench) -> None:
    at_work(bench, UUID, OTHER)
    bench.engine.install(UUID, OPERATOR, order(Utilisation(up_above=0.9), 1))
    bench.tick(1.0)
    assert bench.calls_for_many == [{UUID, OTHER}] * 2
    assert bench.questions == []
    bench.tick(1.0)
    assert {(v.uuid, v.vcpu) for v in bench.votes} == {
        (uuid, vcpu) for uuid in (UUID, OTHER) for vcpu in (0, 1)
    }


def test_one_domain_alone_needs_no_call_for_many(bench: Bench) -> None:
    at_work(bench, UUID)
    assert bench.calls_for_many == []
    assert [question.uuid for question in bench.questions] == [UUID]


def test_what_a_call_for_many_does_not_tell_is_asked_alone_which_says_why(
    bench: Bench,
) -> None:
    bench.untold = {UUID}
    at_work(bench, UUID, OTHER)
    assert [question.uuid for question in bench.questions] == [UUID]
    bench.failure = "domain is not running"
    bench.tick(1.0)
    problems = {status.uuid: status.problem for status in bench.engine.statuses()}
    assert problems == {UUID: "domain is not running", OTHER: ""}


def test_a_call_for_many_that_hangs_costs_a_second_and_nobody_s_sight(
    bench: Bench,
) -> None:
    at_work(bench, UUID, OTHER)
    bench.held = []
    bench.tick(1.0)
    (hung,) = bench.held
    bench.held = None
    # Still under way when it is due again: everybody is asked alone, and answered.
    bench.tick(1.0)
    assert [question.uuid for question in bench.questions] == [UUID, OTHER]
    assert bench.new_votes() == {0: STEPS[1], 1: STEPS[1]}
    bench.tick(1.0)
    assert len(bench.questions) == 4
    assert len(bench.calls_for_many) == 1
    # What it says in the end is old, and nobody hears it.
    bench.run_ns = {0: 10**15, 1: 10**15}
    hung()
    bench.run_ns = {0: 0, 1: 0}
    bench.tick()
    bench.tick(1.0)
    assert len(bench.calls_for_many) == 3
    assert bench.new_votes() == {0: STEPS[3], 1: STEPS[3]}


def test_who_is_asked_alone_and_hangs_too_is_blind_in_the_end(bench: Bench) -> None:
    at_work(bench, UUID, OTHER)
    bench.tick(1.0)
    bench.new_votes()
    bench.held = []
    for _ in range(round(ANSWER_WITHIN_S)):
        bench.tick(1.0)
    # One call for both, one for each: whoever waits is not asked again.
    assert len(bench.held) == 3
    bench.tick(1.0)
    assert bench.new_votes() == {0: None, 1: None}


def test_a_call_for_many_that_fails_in_an_unforeseen_way_is_not_the_last(
    bench: Bench,
) -> None:
    at_work(bench, UUID, OTHER)
    bench.held = []
    bench.tick(1.0)
    (work,) = bench.held
    bench.read_together = None  # type: ignore[assignment, method-assign]
    with pytest.raises(TypeError):
        work()
    del bench.read_together
    bench.held = None
    bench.tick(1.0)
    bench.tick(1.0)
    assert len(bench.questions) == 2
    assert len(bench.calls_for_many) == 2
