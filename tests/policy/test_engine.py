"""The engine, tick by tick: whose policies are at work, and what they vote."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from orchestrator.policy.branch_ratio import BranchRatio
from orchestrator.policy.readings import BranchCounter
from orchestrator.policy.refusal import PolicyError
from orchestrator.policy.tenant import Source, SourceKind
from orchestrator.policy.time_of_day import TimeOfDay
from orchestrator.policy.utilisation import Utilisation
from orchestrator.rules.timetable import whole_hours
from tests.policy.bench import (
    BY_PACKETS,
    HIGH,
    LOW,
    MAC,
    MAX,
    MED,
    MEDIUM,
    METADATA,
    MIN,
    OPERATOR,
    OTHER,
    RULE,
    SECOND_MAC,
    UUID,
    guest,
    order,
    place,
    tenant,
)
from tests.policy.sights import STEPS

if TYPE_CHECKING:
    from tests.policy.bench import Bench


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
    bench.engine.install(UUID, guest(0), order(LOW, 0))
    outranked = {s.source: set(s.outranked) for s in bench.engine.statuses()}
    assert outranked == {METADATA: {0, 1}, RULE: {0}, OPERATOR: set(), guest(0): set()}
    assert bench.engine.end_guest(UUID)
    assert bench.engine.remove(UUID, OPERATOR)
    assert not bench.engine.remove(UUID, OPERATOR)
    assert bench.new_votes() == {0: MED}
    assert bench.engine.apply_standing(UUID, {METADATA: order(HIGH)}) == {}
    bench.tick()
    assert bench.new_votes() == {0: MAX, 1: MAX}


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
