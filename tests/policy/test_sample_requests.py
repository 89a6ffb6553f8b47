# SPDX-License-Identifier: Apache-2.0
"""Sample requests: when they are sent, how long policies wait, what they receive."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from orchestrator.policy.engine import ANSWER_WITHIN_S, next_due_s
from orchestrator.policy.kinds.traffic import Traffic
from orchestrator.policy.kinds.utilisation import Utilisation
from tests.policy.engine_harness import (
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
    subject,
)
from tests.policy.vcpu_samples import STEPS

if TYPE_CHECKING:
    from orchestrator.values.domain import DomainId
    from tests.policy.engine_harness import EngineHarness


def test_a_policy_is_sampled_at_its_own_period(harness: EngineHarness) -> None:
    harness.engine.install(UUID, RULE, order(BY_PACKETS))
    assert harness.tick() == 1.0
    assert harness.tick(0.75) == 0.25
    assert len(harness.reads) == 1
    assert harness.tick(0.25) == 1.0
    assert len(harness.reads) == 2


def test_a_policy_without_samples_withdraws_its_votes_and_reports_why(
    harness: EngineHarness,
) -> None:
    harness.engine.install(UUID, RULE, order(BY_PACKETS))
    harness.tick()
    harness.tick(1.0)
    assert harness.new_votes() == {0: MIN, 1: MIN}
    harness.failure = "vnet0 is gone"
    harness.tick(1.0)
    assert harness.new_votes() == {0: None, 1: None}
    assert harness.problem() == "vnet0 is gone"
    harness.failure = None
    harness.tick(1.0)
    assert harness.new_votes() == {}
    harness.tick(1.0)
    assert harness.new_votes() == {0: MIN, 1: MIN}
    assert harness.problem() == ""


def test_a_request_that_hangs_is_sent_once_and_given_up_after_a_while(
    harness: EngineHarness,
) -> None:
    harness.engine.install(UUID, RULE, order(BY_PACKETS))
    harness.tick()
    harness.tick(1.0)
    harness.held = []
    harness.tick(1.0)
    harness.new_votes()
    for _ in range(round(ANSWER_WITHIN_S) - 1):
        harness.tick(1.0)
    assert harness.new_votes() == {}
    harness.tick(1.0)
    assert harness.new_votes() == {0: None, 1: None}
    assert harness.problem() == "no answer for 5 s"
    (hung,) = harness.held
    woken = harness.woken
    hung()
    assert harness.woken == woken + 1
    harness.held = None
    harness.tick()
    assert harness.problem() == ""
    harness.tick(1.0)
    assert harness.new_votes() == {0: MIN, 1: MIN}


def test_a_request_that_hangs_delays_no_other_policy(harness: EngineHarness) -> None:
    harness.held = []
    harness.engine.install(UUID, RULE, order(BY_PACKETS, 0))
    harness.engine.install(UUID, OPERATOR, order(LOW, 1))
    harness.tick()
    assert harness.new_votes() == {1: MIN}


def test_an_answer_to_a_policy_that_was_replaced_is_dropped(
    harness: EngineHarness,
) -> None:
    harness.held = []
    harness.engine.install(UUID, guest(0), order(BY_PACKETS, 0))
    harness.tick()
    harness.engine.install(UUID, guest(0), order(Traffic(avg_pps=1, max_pps=2), 0))
    harness.tick()
    first, second = harness.held
    first()
    harness.tick()
    harness.packets[MAC] += 10
    harness.tick(0.5)
    second()
    harness.tick()
    # A single reading: the first one belongs to the policy that was replaced.
    assert harness.new_votes() == {}


def test_policies_of_one_period_are_served_in_one_tick(harness: EngineHarness) -> None:
    harness.engine.install(UUID, RULE, order(BY_PACKETS))
    harness.tick(0.1)
    harness.engine.install(UUID, OPERATOR, order(Utilisation()))
    assert harness.tick(0.3) == pytest.approx(0.6)
    harness.reads.clear()
    assert harness.tick(0.6) == pytest.approx(1.0)
    assert len(harness.reads) == 2


@pytest.mark.parametrize("now_s", [0.0, 0.2, 0.5, 0.7, 1.5, 1000.49])
def test_two_decisions_are_never_nearer_than_half_a_period(now_s: float) -> None:
    due_s = next_due_s(now_s, 1.0)
    assert due_s % 1.0 == 0
    assert 0.5 <= due_s - now_s <= 1.5


def test_an_answer_after_the_end_of_the_domain_is_dropped(
    harness: EngineHarness,
) -> None:
    harness.held = []
    harness.engine.install(UUID, RULE, order(BY_PACKETS))
    harness.tick()
    harness.engine.forget_subject(UUID)
    harness.held[0]()
    assert harness.tick() is None


def start_idle(harness: EngineHarness, *uuids: DomainId) -> None:
    """Run domains whose vCPUs idle, and sample them once."""
    for uuid in uuids:
        harness.engine.update_subject(subject(uuid=uuid))
        policy = Utilisation(down_after_samples=1)
        harness.engine.install(uuid, RULE, order(policy))
    harness.tick()


def test_run_times_of_all_domains_are_read_with_one_call(
    harness: EngineHarness,
) -> None:
    start_idle(harness, UUID, OTHER)
    harness.engine.install(UUID, OPERATOR, order(Utilisation(up_above=0.9), 1))
    harness.tick(1.0)
    assert harness.batches == [{UUID, OTHER}] * 2
    assert harness.reads == []
    harness.tick(1.0)
    assert {(v.uuid, v.vcpu) for v in harness.votes} == {
        (uuid, vcpu) for uuid in (UUID, OTHER) for vcpu in (0, 1)
    }


def test_a_single_domain_needs_no_batch(harness: EngineHarness) -> None:
    start_idle(harness, UUID)
    assert harness.batches == []
    assert [target.uuid for _, target in harness.reads] == [UUID]


def test_a_domain_missing_in_a_batch_is_requested_individually(
    harness: EngineHarness,
) -> None:
    harness.left_out = {UUID}
    start_idle(harness, UUID, OTHER)
    assert [target.uuid for _, target in harness.reads] == [UUID]
    harness.failure = "domain is not running"
    harness.tick(1.0)
    problems = {status.uuid: status.problem for status in harness.engine.statuses()}
    assert problems == {UUID: "domain is not running", OTHER: ""}


def test_a_batch_that_hangs_costs_a_second_and_no_samples(
    harness: EngineHarness,
) -> None:
    start_idle(harness, UUID, OTHER)
    harness.held = []
    harness.tick(1.0)
    (hung,) = harness.held
    harness.held = None
    # Still in progress when it is due again: both are requested individually.
    harness.tick(1.0)
    assert [target.uuid for _, target in harness.reads] == [UUID, OTHER]
    assert harness.new_votes() == {0: STEPS[1], 1: STEPS[1]}
    harness.tick(1.0)
    assert len(harness.reads) == 4
    assert len(harness.batches) == 1
    # Its late result is dropped.
    harness.run_ns = {0: 10**15, 1: 10**15}
    hung()
    harness.run_ns = {0: 0, 1: 0}
    harness.tick()
    harness.tick(1.0)
    assert len(harness.batches) == 3
    assert harness.new_votes() == {0: STEPS[3], 1: STEPS[3]}


def test_a_domain_that_hangs_individually_too_is_given_up(
    harness: EngineHarness,
) -> None:
    start_idle(harness, UUID, OTHER)
    harness.tick(1.0)
    harness.new_votes()
    harness.held = []
    for _ in range(round(ANSWER_WITHIN_S)):
        harness.tick(1.0)
    # One call for both, one for each: a pending request is not repeated.
    assert len(harness.held) == 3
    harness.tick(1.0)
    assert harness.new_votes() == {0: None, 1: None}


def test_a_batch_that_raises_is_not_the_last(
    harness: EngineHarness,
) -> None:
    start_idle(harness, UUID, OTHER)
    harness.held = []
    harness.tick(1.0)
    (work,) = harness.held
    harness.batch_error = RuntimeError("unexpected")
    with pytest.raises(RuntimeError, match="unexpected"):
        work()
    harness.batch_error = None
    harness.held = None
    harness.tick(1.0)
    harness.tick(1.0)
    assert len(harness.reads) == 2
    assert len(harness.batches) == 2
