# SPDX-License-Identifier: Apache-2.0
"""The engine, tick by tick: which policies are in force, and how they vote."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

import pytest

from orchestrator.policy.errors import PolicyError
from orchestrator.policy.kinds.branch_ratio import BranchRatio
from orchestrator.policy.kinds.energy_preference import PreferredEnergy
from orchestrator.policy.kinds.idle_latency import IdleLatency
from orchestrator.policy.kinds.time_of_day import Otherwise, TimeOfDay
from orchestrator.policy.kinds.utilisation import Utilisation
from orchestrator.policy.subject import Source, SourceKind
from orchestrator.policy.timetable import whole_hours
from orchestrator.sampling.branches import BranchCounter
from orchestrator.values.energy_preference import EnergyPreference
from orchestrator.values.units import Microseconds
from tests.policy.engine_harness import (
    BY_PACKETS,
    FLOATING,
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
    held,
    order,
    place,
    subject,
)
from tests.policy.vcpu_samples import STEPS

if TYPE_CHECKING:
    from orchestrator.values.cpu_attributes import CpuAttributes
    from tests.policy.engine_harness import EngineHarness


HOURS = whole_hours([12])


def test_a_policy_votes_once_and_again_only_when_it_changes_its_mind(
    harness: EngineHarness,
) -> None:
    policy = TimeOfDay(busy=whole_hours([12]), quiet=whole_hours([13]))
    harness.engine.install(UUID, RULE, order(policy))
    assert harness.tick() == policy.period_s
    assert harness.new_votes() == {0: MAX, 1: MAX}
    for _ in range(5):
        harness.tick(1.0)
    assert harness.new_votes() == {}
    harness.tick(3600.0)
    assert harness.new_votes() == {0: MIN, 1: MIN}


def test_without_policies_no_tick_is_due(harness: EngineHarness) -> None:
    assert harness.tick() is None


def test_dts_traffic_decides_from_the_second_sample_on(harness: EngineHarness) -> None:
    harness.engine.install(UUID, RULE, order(BY_PACKETS))
    harness.tick()
    assert harness.new_votes() == {}
    for packets, khz in [(2000, MAX), (500, MED), (50, MIN)]:
        harness.packets[MAC] += packets
        harness.tick(1.0)
        assert harness.new_votes() == {0: khz, 1: khz}


def test_f16_only_the_interfaces_that_are_named_count(harness: EngineHarness) -> None:
    harness.engine.install(UUID, RULE, order(BY_PACKETS, macs=frozenset({SECOND_MAC})))
    harness.tick()
    harness.packets[MAC] += 9999
    harness.packets[SECOND_MAC] += 150
    harness.tick(1.0)
    assert harness.new_votes() == {0: MED, 1: MED}


def test_utilisation_of_each_vcpu_decides_for_itself(harness: EngineHarness) -> None:
    harness.engine.install(UUID, RULE, order(Utilisation(down_after_samples=1)))
    harness.tick()
    harness.run_ns[0] += 900_000_000
    harness.run_ns[1] += 100_000_000
    harness.tick(1.0)
    assert harness.new_votes() == {0: STEPS[0], 1: STEPS[1]}


def test_branch_ratio_samples_the_cpus_that_its_vcpus_are_pinned_to(
    harness: EngineHarness,
) -> None:
    harness.branches = {2: BranchCounter(0, 0, 0), 3: BranchCounter(0, 0, 0)}
    policy = BranchRatio(window=1, period_s=1.0)
    harness.engine.install(UUID, RULE, order(policy))
    assert harness.kept == {2, 3}
    harness.tick()
    harness.branches = {
        2: BranchCounter(10**9, 0, 10**9),
        3: BranchCounter(10**9, 10**8, 10**9),
    }
    harness.tick(1.0)
    assert harness.new_votes() == {0: MIN, 1: MAX}


def test_f18_s12_counters_are_closed_when_the_last_policy_has_ended(
    harness: EngineHarness,
) -> None:
    for channel in (0, 1):
        policy = order(BranchRatio(), channel)
        harness.engine.install(UUID, guest(channel), policy)
        harness.engine.install(UUID, guest(channel), policy)
    assert harness.kept == {2, 3}
    harness.engine.end_guest(UUID, 0)
    assert harness.kept == {3}
    harness.engine.end_guest(UUID)
    assert harness.kept == set()


def test_what_can_never_work_is_refused_with_its_reason(harness: EngineHarness) -> None:
    harness.obstacle = "this machine has no branch counters"
    with pytest.raises(PolicyError, match="branch-ratio: this machine has no"):
        harness.engine.install(UUID, guest(0), order(BranchRatio(), 0))
    assert not list(harness.engine.statuses())
    assert harness.kept == set()


@pytest.mark.parametrize(
    "policy",
    [
        TimeOfDay(quiet=whole_hours([13]), traffic=HOURS, avg_pps=1, max_pps=2),
        TimeOfDay(traffic=HOURS, otherwise=Otherwise.QUIET, avg_pps=1, max_pps=2),
    ],
)
def test_a_timetable_works_without_the_samples_of_its_times_of_traffic(
    harness: EngineHarness, policy: TimeOfDay
) -> None:
    harness.obstacle = harness.failure = "the host has no packet counter"
    harness.engine.install(UUID, OPERATOR, order(policy))
    assert harness.problem() == "the host has no packet counter"
    harness.tick()
    assert harness.new_votes() == {}
    harness.tick(3600.0)
    assert harness.new_votes() == {0: MIN, 1: MIN}


def test_a_timetable_of_traffic_alone_is_refused_without_samples(
    harness: EngineHarness,
) -> None:
    harness.obstacle = "the host has no packet counter"
    policy = TimeOfDay(traffic=HOURS, avg_pps=1, max_pps=2)
    with pytest.raises(PolicyError, match="time-of-day: the host has no packet"):
        harness.engine.install(UUID, OPERATOR, order(policy))


def test_a_domain_that_does_not_run_has_no_policies(harness: EngineHarness) -> None:
    with pytest.raises(PolicyError, match="is not running"):
        harness.engine.install(OTHER, guest(0), order(LOW, 0))


def test_a_guest_s_policy_is_one_vote_beside_the_host_s(harness: EngineHarness) -> None:
    harness.engine.install(UUID, RULE, order(LOW))
    harness.engine.install(UUID, guest(0), order(MEDIUM, 0))
    harness.tick()
    assert harness.new_votes() == {0: MED, 1: MIN}
    harness.engine.install(UUID, RULE, order(HIGH))
    harness.tick()
    assert harness.new_votes() == {0: MAX, 1: MAX}


def test_an_operator_overrides_rules_and_rules_override_metadata(
    harness: EngineHarness,
) -> None:
    harness.engine.install(UUID, METADATA, order(HIGH))
    harness.tick()
    assert harness.new_votes() == {0: MAX, 1: MAX}
    harness.engine.install(UUID, RULE, order(MEDIUM))
    harness.tick()
    assert harness.new_votes() == {0: MED, 1: MED}
    harness.engine.install(UUID, OPERATOR, order(LOW, 0))
    harness.tick()
    assert harness.new_votes() == {0: MIN}
    harness.engine.install(UUID, guest(0), order(LOW, 0))
    overridden = {s.source: set(s.overridden) for s in harness.engine.statuses()}
    assert overridden == {METADATA: {0, 1}, RULE: {0}, OPERATOR: set(), guest(0): set()}
    assert harness.engine.end_guest(UUID)
    assert harness.engine.remove(UUID, OPERATOR)
    assert not harness.engine.remove(UUID, OPERATOR)
    assert harness.new_votes() == {0: MED}
    assert harness.engine.apply_configured(UUID, {METADATA: order(HIGH)}) == {}
    harness.tick()
    assert harness.new_votes() == {0: MAX, 1: MAX}


def test_the_vcpus_that_policies_apply_to_are_known(harness: EngineHarness) -> None:
    assert harness.engine.effect(UUID).vcpus == frozenset()
    harness.engine.install(UUID, guest(0), order(LOW, 0, 7))
    assert harness.engine.effect(UUID).vcpus == {0}
    harness.engine.install(UUID, RULE, order(LOW))
    assert harness.engine.effect(UUID).vcpus == {0, 1}
    harness.engine.forget_subject(UUID)
    assert harness.engine.effect(UUID).vcpus == frozenset()


LATENCY = IdleLatency(idle_latency_us=Microseconds(20))
POWER = PreferredEnergy(epp=EnergyPreference("power"))
EVERY_VCPU = (0, 1, FLOATING)


def attributes(harness: EngineHarness) -> dict[int, CpuAttributes]:
    return dict(harness.engine.effect(UUID).attributes)


def test_a_policy_that_holds_attributes_has_no_vote_and_applies_to_floating_vcpus(
    harness: EngineHarness,
) -> None:
    harness.engine.install(UUID, OPERATOR, order(LATENCY))
    harness.engine.install(UUID, RULE, order(POWER, 1, 9))
    harness.tick()
    assert harness.new_votes() == {}
    assert harness.engine.effect(UUID).vcpus == frozenset()
    assert attributes(harness) == {
        0: held(20),
        1: held(20, "power"),
        FLOATING: held(20),
    }
    shown = {it.source: it.wants_khz for it in harness.engine.statuses()}
    assert shown == {OPERATOR: dict.fromkeys(EVERY_VCPU), RULE: {1: None}}
    harness.engine.remove(UUID, OPERATOR)
    assert attributes(harness) == {1: held(epp="power")}
    harness.engine.forget_subject(UUID)
    assert attributes(harness) == {}


def test_it_neither_takes_precedence_over_votes_nor_they_over_it(
    harness: EngineHarness,
) -> None:
    harness.engine.install(UUID, METADATA, order(LOW))
    harness.engine.install(UUID, RULE, order(POWER))
    harness.engine.install(UUID, OPERATOR, order(LATENCY))
    harness.tick()
    assert harness.new_votes() == {0: MIN, 1: MIN}
    assert attributes(harness) == dict.fromkeys(EVERY_VCPU, held(20, "power"))
    assert not any(status.overridden for status in harness.engine.statuses())


def test_of_several_for_one_attribute_that_of_the_highest_precedence_applies(
    harness: EngineHarness,
) -> None:
    longer = IdleLatency(idle_latency_us=Microseconds(500))
    harness.engine.install(UUID, RULE, order(LATENCY))
    harness.engine.install(UUID, OPERATOR, order(longer, 0, FLOATING))
    assert attributes(harness) == {0: held(500), 1: held(20), FLOATING: held(500)}
    overridden = {s.source: set(s.overridden) for s in harness.engine.statuses()}
    assert overridden == {RULE: {0, FLOATING}, OPERATOR: set()}
    other = Source(SourceKind.OPERATOR, "other")
    harness.engine.install(UUID, other, order(LATENCY, 0))
    assert attributes(harness)[0] == held(20)


def test_what_a_policy_holds_besides_its_vote_lasts_while_it_applies(
    harness: EngineHarness,
) -> None:
    harness.engine.install(UUID, RULE, order(LOW, us=50))
    assert attributes(harness) == dict.fromkeys(EVERY_VCPU, held(50))
    harness.engine.install(UUID, METADATA, order(LATENCY, 1))
    assert attributes(harness)[1] == held(20)
    harness.engine.install(UUID, OPERATOR, order(HIGH, 0, 1))
    assert attributes(harness) == {1: held(20), FLOATING: held(50)}


def test_f7_votes_end_with_the_channel_over_which_a_policy_came(
    harness: EngineHarness,
) -> None:
    harness.engine.install(UUID, guest(0), order(LOW, 0))
    harness.engine.install(UUID, guest(1), order(LOW, 1))
    harness.tick()
    harness.new_votes()
    assert harness.engine.end_guest(UUID, 1)
    assert harness.new_votes() == {1: None}
    assert not harness.engine.end_guest(UUID, 1)
    assert harness.engine.end_guest(UUID)
    assert harness.new_votes() == {0: None}


def test_the_end_of_a_channel_ends_no_other_policies(harness: EngineHarness) -> None:
    harness.engine.install(UUID, RULE, order(LOW))
    harness.tick()
    harness.new_votes()
    assert not harness.engine.end_guest(UUID)
    assert harness.new_votes() == {}


def test_f7_votes_end_with_the_domain(harness: EngineHarness) -> None:
    harness.engine.install(UUID, RULE, order(LOW))
    harness.tick()
    harness.new_votes()
    harness.engine.forget_subject(UUID)
    assert harness.new_votes() == {0: None, 1: None}
    assert harness.tick(10.0) is None
    harness.engine.forget_subject(UUID)
    assert harness.new_votes() == {}


def test_a_guest_s_new_policy_takes_its_vcpus_out_of_its_others(
    harness: EngineHarness,
) -> None:
    harness.engine.install(UUID, guest(0), order(HIGH, 0, 1))
    harness.tick()
    harness.engine.install(UUID, guest(1), order(LOW, 1))
    harness.tick()
    assert harness.new_votes() == {0: MAX, 1: MIN}
    harness.engine.install(UUID, guest(2), order(LOW, 0, 1))
    harness.tick()
    assert harness.new_votes() == {0: MIN}
    assert [status.source for status in harness.engine.statuses()] == [guest(2)]


def test_s10_s13_the_same_policy_again_changes_nothing(harness: EngineHarness) -> None:
    harness.engine.install(UUID, guest(0), order(BY_PACKETS, 0))
    harness.tick()
    harness.tick(1.0)
    assert harness.new_votes() == {0: MIN}
    reads = len(harness.reads)
    for _ in range(1000):
        harness.engine.install(UUID, guest(0), order(BY_PACKETS, 0))
        harness.tick()
    assert harness.new_votes() == {}
    assert len(harness.reads) == reads
    assert len(list(harness.engine.statuses())) == 1


def test_replacing_a_policy_withdraws_no_vote_until_the_new_one_decides(
    harness: EngineHarness,
) -> None:
    harness.engine.install(UUID, guest(0), order(LOW, 0))
    harness.engine.install(UUID, OPERATOR, order(HIGH, 1))
    harness.tick()
    assert harness.new_votes() == {0: MIN, 1: MAX}
    harness.engine.install(UUID, guest(1), order(HIGH, 0))
    harness.engine.install(UUID, OPERATOR, order(MEDIUM, 1))
    assert harness.new_votes() == {}
    harness.tick()
    assert harness.new_votes() == {0: MAX, 1: MED}


def test_a_paused_domain_keeps_its_votes_and_is_not_sampled(
    harness: EngineHarness,
) -> None:
    harness.engine.install(UUID, RULE, order(BY_PACKETS))
    harness.tick()
    harness.tick(1.0)
    harness.new_votes()
    harness.engine.update_subject(subject(runs=False))
    reads = len(harness.reads)
    assert harness.tick(60.0) is None
    assert harness.new_votes() == {}
    assert len(harness.reads) == reads
    harness.packets[MAC] += 10**9
    harness.engine.update_subject(subject())
    assert harness.tick() == 1.0
    assert len(harness.reads) == reads + 1
    # What was counted before the pause is not compared with what is counted now.
    assert harness.new_votes() == {0: None, 1: None}
    harness.tick(1.0)
    assert harness.new_votes() == {0: MIN, 1: MIN}


def test_new_bounds_are_voted_at_once(harness: EngineHarness) -> None:
    harness.engine.install(UUID, RULE, order(HIGH))
    harness.tick()
    harness.new_votes()
    harness.engine.update_subject(subject(place(0, steps=STEPS[1:]), place(1)))
    assert harness.tick() is not None
    assert harness.new_votes() == {0: STEPS[1]}


def test_a_vcpu_in_another_group_votes_again(harness: EngineHarness) -> None:
    harness.engine.install(UUID, RULE, order(LOW))
    harness.tick()
    harness.new_votes()
    harness.engine.update_subject(subject(place(0, group=7), place(1)))
    harness.tick()
    assert harness.new_votes() == {0: MIN}


def test_a_vcpu_that_floats_has_no_vote_until_it_is_pinned_again(
    harness: EngineHarness,
) -> None:
    harness.engine.install(UUID, RULE, order(LOW))
    harness.tick()
    harness.new_votes()
    harness.engine.update_subject(subject(place(1)))
    harness.tick()
    assert harness.new_votes() == {}
    harness.engine.update_subject(subject())
    harness.tick()
    assert harness.new_votes() == {0: MIN}


def test_configured_policies_are_installed_and_failures_reported(
    harness: EngineHarness,
) -> None:
    engine = harness.engine
    first, second = (Source(SourceKind.RULE, name) for name in ("a[0]", "b[1]"))
    assert engine.apply_configured(
        UUID, {first: order(LOW, 0), second: order(LOW, 1)}
    ) == {first: None, second: None}
    harness.tick()
    assert harness.new_votes() == {0: MIN, 1: MIN}
    harness.obstacle = "no counter"
    problems = engine.apply_configured(
        UUID, {first: order(BranchRatio(), 0), second: order(HIGH, 1)}
    )
    assert problems == {first: "branch-ratio: no counter", second: None}
    harness.tick()
    assert harness.new_votes() == {0: None, 1: MAX}
    assert engine.apply_configured(UUID, {}) == {}
    assert harness.new_votes() == {1: None}


NOON_QUIET = TimeOfDay(quiet=whole_hours([12]), otherwise=Otherwise.UNCHANGED)


def test_unchanged_keeps_what_the_policy_wanted_before(harness: EngineHarness) -> None:
    harness.engine.install(UUID, RULE, order(NOON_QUIET))
    harness.tick()
    assert harness.new_votes() == {0: MIN, 1: MIN}
    harness.tick(3600.0)
    assert harness.new_votes() == {}


@pytest.mark.parametrize("source", [RULE, METADATA, OPERATOR, guest(0)])
def test_a_policy_that_replaces_another_begins_without_its_level(
    harness: EngineHarness, source: Source
) -> None:
    harness.engine.install(UUID, source, order(NOON_QUIET, 0, 1))
    harness.tick()
    assert harness.new_votes() == {0: MIN, 1: MIN}
    corrected = replace(NOON_QUIET, zone=ZoneInfo("Asia/Tokyo"))
    harness.engine.install(UUID, source, order(corrected, 0, 1))
    assert harness.new_votes() == {}
    harness.tick(1.0)
    assert harness.new_votes() == {0: None, 1: None}


def test_a_policy_that_samples_and_replaces_another_begins_without_votes(
    harness: EngineHarness,
) -> None:
    harness.engine.install(UUID, RULE, order(LOW))
    harness.tick()
    harness.new_votes()
    harness.held = []
    harness.engine.install(UUID, RULE, order(BY_PACKETS))
    assert harness.new_votes() == {0: None, 1: None}


def test_a_vcpu_that_the_replacement_does_not_name_loses_its_vote(
    harness: EngineHarness,
) -> None:
    harness.engine.install(UUID, OPERATOR, order(LOW, 0, 1))
    harness.tick()
    harness.new_votes()
    harness.engine.install(UUID, OPERATOR, order(LOW, 0))
    (status,) = harness.engine.statuses()
    assert status.wants_khz == {0: MIN}
    harness.tick()
    assert harness.new_votes() == {1: None}


def test_statuses_show_what_each_policy_wants(harness: EngineHarness) -> None:
    harness.engine.install(UUID, guest(0), order(LOW, 0))
    harness.tick()
    (status,) = harness.engine.statuses()
    assert (status.uuid, status.source, status.order.policy) == (UUID, guest(0), LOW)
    assert (status.wants_khz, status.problem) == ({0: MIN}, "")
