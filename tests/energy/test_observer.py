# SPDX-License-Identifier: Apache-2.0
"""Samples of grants and run times: which core-seconds follow."""

from __future__ import annotations

from dataclasses import replace

import pytest

from orchestrator.energy.attribution import Observation, Package
from orchestrator.energy.grants import GrantTimes, GroupSample
from orchestrator.energy.meters import MeterInterval
from orchestrator.energy.observer import (
    NS_PER_S,
    DomainPlan,
    HostPlan,
    Observer,
    Sample,
    ThreadTimes,
    VCpuPlan,
)
from orchestrator.energy.residency import Activity, Slot
from orchestrator.values.domain import DomainId

FW, WEB = DomainId("fw"), DomainId("web")
LOW, MIDDLE, HIGH = STEPS_KHZ = (800_000, 2_400_000, 3_200_000)
PACKAGE = Package(
    number=0, cores=4, groups=frozenset({0, 1, 2, 3}), steps_khz=STEPS_KHZ
)


def vcpu(group: int, core: int | None = None) -> VCpuPlan:
    return VCpuPlan(
        group=group,
        clock_groups=(group,),
        core=group if core is None else core,
        highest_khz=HIGH,
    )


def plan(**domains: DomainPlan) -> HostPlan:
    known = {DomainId(name): domain for name, domain in domains.items()}
    return HostPlan(packages={0: PACKAGE}, domains=known, cpus=4)


ENFORCED = DomainPlan(vcpus={0: vcpu(0)}, is_enforced=True)
OBSERVED = DomainPlan(vcpus={0: vcpu(0)}, is_enforced=False)


def sample(
    at_s: float,
    khz: int | None = LOW,
    ran_s: float | None = None,
    *,
    measured_khz: int | None = None,
    votes: dict[tuple[DomainId, int], int] | None = None,
    others_s: float = 0.0,
    idle_s: float | None = None,
    known: tuple[str, ...] = ("fw",),
) -> Sample:
    ran_ns = round((at_s if ran_s is None else ran_s) * NS_PER_S)
    return Sample(
        at_s=at_s,
        wall_s=1_000.0 + at_s,
        grants_ns=round(at_s * NS_PER_S),
        groups={
            0: GroupSample(khz, None, measured_khz),
            1: GroupSample(None, None, MIDDLE),
        },
        times={
            DomainId(it): ThreadTimes({0: ran_ns}, round(others_s * NS_PER_S))
            for it in known
        },
        votes_khz=votes or {},
        idle_s=idle_s,
    )


def watch(observer: Observer, *samples: Sample) -> Observation:
    for it in samples[:-1]:
        observer.observe(it)
    found = observer.observe(samples[-1])
    assert found is not None
    return found


def test_a_granted_frequency_is_compared_with_the_highest() -> None:
    found = watch(Observer(plan(fw=ENFORCED)), sample(0), sample(1))

    assert found.residency == {FW: {Slot(Activity.POLL, 0, LOW, LOW, HIGH): 1.0}}
    assert (found.start, found.duration_s, found.is_exact) == (1_000.0, 1.0, True)


def test_a_grant_that_changed_counts_for_half_of_the_interval() -> None:
    found = watch(Observer(plan(fw=ENFORCED)), sample(0, LOW), sample(1, HIGH))

    assert found.residency[FW] == {
        Slot(Activity.POLL, 0, LOW, LOW, HIGH): 0.5,
        Slot(Activity.POLL, 0, HIGH, HIGH, HIGH): 0.5,
    }


def test_a_grant_whose_times_are_known_counts_for_these() -> None:
    samples = [
        replace(
            sample(at_s),
            groups={0: GroupSample(khz, GrantTimes(0, STEPS_KHZ, 0, spent_ns), None)},
        )
        for at_s, khz, spent_ns in (
            (0, LOW, (0, 0, 0)),
            (1, HIGH, (NS_PER_S // 10, NS_PER_S // 5, 0)),
        )
    ]

    found = watch(Observer(plan(fw=ENFORCED)), *samples)

    assert {slot.khz: core_s for slot, core_s in found.residency[FW].items()} == {
        LOW: pytest.approx(0.1),
        MIDDLE: pytest.approx(0.2),
        HIGH: pytest.approx(0.7),
    }


def test_what_the_governor_does_in_other_groups_is_not_saved_by_vmpower() -> None:
    free = (sample(at, None, measured_khz=MIDDLE) for at in (0, 1))

    found = watch(Observer(plan(fw=ENFORCED)), *free)

    slot = Slot(Activity.POLL, 0, MIDDLE, HIGH, MIDDLE)
    assert found.residency[FW] == {slot: 1.0}


def test_in_mode_observe_votes_count_as_if_they_were_granted() -> None:
    votes = {(FW, 0): LOW}
    seen = (sample(at, None, measured_khz=HIGH, votes=votes) for at in (0, 1))

    found = watch(Observer(plan(fw=OBSERVED)), *seen)

    assert found.residency[FW] == {Slot(Activity.POLL, 0, HIGH, LOW, HIGH): 1.0}


def test_in_mode_observe_a_vcpu_without_a_vote_keeps_its_group_high() -> None:
    votes = {(FW, 0): LOW}
    seen = (sample(at, None, measured_khz=HIGH, votes=votes) for at in (0, 1))

    found = watch(Observer(plan(fw=OBSERVED, web=OBSERVED)), *seen)

    assert found.residency[FW] == {Slot(Activity.POLL, 0, HIGH, HIGH, HIGH): 1.0}


def test_the_faster_of_two_threads_decides_the_frequency_of_their_core() -> None:
    both = VCpuPlan(group=0, clock_groups=(0, 1), core=0, highest_khz=HIGH)
    domain = DomainPlan(vcpus={0: both}, is_enforced=True)

    found = watch(Observer(plan(fw=domain)), sample(0), sample(1))

    assert found.residency[FW] == {Slot(Activity.POLL, 0, MIDDLE, MIDDLE, HIGH): 1.0}


def test_a_step_that_the_hardware_does_not_reach_saves_nothing() -> None:
    observer = Observer(plan(fw=ENFORCED))
    observer.check_ceiling(1, HIGH, MIDDLE)

    found = watch(observer, sample(0, HIGH), sample(1, HIGH))

    assert observer.ceilings == {0: MIDDLE}
    assert found.residency[FW] == {Slot(Activity.POLL, 0, MIDDLE, MIDDLE, MIDDLE): 1.0}


def test_a_ceiling_ends_when_a_group_gets_more() -> None:
    observer = Observer(plan(fw=ENFORCED))
    observer.check_ceiling(1, HIGH, MIDDLE)
    observer.check_ceiling(1, LOW, LOW)
    assert observer.ceilings == {0: MIDDLE}

    observer.check_ceiling(1, HIGH, HIGH)

    assert observer.ceilings == {}


def test_a_group_of_no_package_has_no_ceiling() -> None:
    observer = Observer(plan(fw=ENFORCED))

    observer.check_ceiling(17, HIGH, MIDDLE)

    assert observer.ceilings == {}


def test_threads_of_qemu_count_to_their_domain() -> None:
    seen = (sample(at, others_s=at * 0.2, ran_s=0.0) for at in (0, 1))

    found = watch(Observer(plan(fw=ENFORCED)), *seen)

    mean = (LOW + MIDDLE) // 2
    slot = Slot(Activity.OTHER, None, mean, mean, mean)
    assert found.residency[FW] == {slot: pytest.approx(0.2)}


def test_a_floating_vcpu_has_the_mean_frequency_of_its_groups() -> None:
    floats = VCpuPlan(group=None, clock_groups=(1, 9), core=None, highest_khz=0)
    domain = DomainPlan(vcpus={0: floats}, is_enforced=True)

    found = watch(Observer(plan(fw=domain)), sample(0), sample(1))

    slot = Slot(Activity.POLL, None, MIDDLE, MIDDLE, MIDDLE)
    assert found.residency[FW] == {slot: 1.0}


def test_what_no_domain_used_is_the_hosts() -> None:
    seen = (sample(at, idle_s=at * 2.5) for at in (0, 1))

    found = watch(Observer(plan(fw=ENFORCED)), *seen)

    assert found.host_core_s == {0: pytest.approx(0.5)}
    assert found.host_khz == MIDDLE


def test_without_idle_times_the_host_has_no_threads() -> None:
    found = watch(Observer(plan(fw=ENFORCED)), sample(0), sample(1))

    assert found.host_core_s == {0: 0.0}


def test_a_vcpu_cannot_run_for_longer_than_the_interval() -> None:
    found = watch(Observer(plan(fw=ENFORCED)), sample(0), sample(1, ran_s=1.02))

    assert sum(found.residency[FW].values()) == 1.0


def test_a_domain_whose_threads_are_not_known_has_no_residency() -> None:
    seen = (sample(at) for at in (0, 1))

    found = watch(Observer(plan(fw=ENFORCED, web=ENFORCED)), *seen)

    assert found.residency[WEB] == {}
    assert found.is_exact


def test_an_interval_in_which_a_domain_started_is_not_exact() -> None:
    seen = (sample(0), sample(1, known=("fw", "web")))

    found = watch(Observer(plan(fw=ENFORCED, web=ENFORCED)), *seen)

    assert found.residency[WEB] == {}
    assert not found.is_exact


def test_a_vcpu_that_was_plugged_in_counts_from_the_next_interval_on() -> None:
    domain = DomainPlan(vcpus={0: vcpu(0), 1: vcpu(1)}, is_enforced=True)
    observer = Observer(plan(fw=domain))
    new = sample(1)
    plugged = ThreadTimes({0: NS_PER_S, 1: 7 * NS_PER_S}, 0)

    observer.observe(sample(0))
    found = observer.observe(
        Sample(
            at_s=1.0,
            wall_s=0.0,
            grants_ns=new.grants_ns,
            groups=new.groups,
            times={FW: plugged},
        )
    )

    assert found is not None
    assert sum(found.residency[FW].values()) == 1.0


def test_run_time_that_is_counted_late_is_not_lost() -> None:
    """The kernel counts the time of a running thread at its clock ticks only."""
    observer = Observer(plan(fw=ENFORCED))
    observer.observe(sample(0, ran_s=0.0))
    counted_s, found_s = (1.1, 2.0, 3.1, 4.0, 5.1), []

    for at_s, ran_s in enumerate(counted_s, start=1):
        found = observer.observe(sample(at_s, ran_s=ran_s))
        assert found is not None
        found_s.append(sum(found.residency[FW].values()))

    assert found_s == pytest.approx([1.0] * 5)


def test_the_first_sample_and_one_of_the_same_time_tell_nothing() -> None:
    observer = Observer(plan(fw=ENFORCED))

    assert observer.observe(sample(1)) is None
    assert observer.observe(sample(1)) is None


def test_vcpus_of_one_clock_group_share_its_frequency() -> None:
    domain = DomainPlan(vcpus={0: vcpu(0), 1: vcpu(0)}, is_enforced=True)
    both = [
        Sample(
            at_s=at_s,
            wall_s=0.0,
            grants_ns=round(at_s * NS_PER_S),
            groups={0: GroupSample(LOW, None, None)},
            times={
                FW: ThreadTimes({0: ran, 1: ran}, ran // 4),
                WEB: ThreadTimes({}, ran),
            },
        )
        for at_s, ran in ((0.0, 0), (1.0, NS_PER_S))
    ]
    web = DomainPlan(vcpus={}, is_enforced=True)

    found = watch(Observer(plan(fw=domain, web=web)), *both)

    assert found.residency[FW] == {
        Slot(Activity.POLL, 0, LOW, LOW, HIGH): pytest.approx(1.15),
        Slot(Activity.OTHER, None, LOW, LOW, LOW): 0.25,
    }
    assert found.residency[WEB] == {Slot(Activity.OTHER, None, LOW, LOW, LOW): 1.0}


def test_an_unknown_group_has_no_frequency() -> None:
    domain = DomainPlan(vcpus={0: vcpu(7)}, is_enforced=True)

    found = watch(Observer(plan(fw=domain)), sample(0), sample(1))

    assert found.residency[FW] == {Slot(Activity.POLL, 7, 0, HIGH, 0): 1.0}


def test_the_meters_of_cores_are_shared_by_the_time_of_their_threads() -> None:
    observer = Observer(
        plan(
            fw=DomainPlan(vcpus={0: vcpu(0, core=0)}, is_enforced=True),
            web=DomainPlan(vcpus={0: vcpu(1, core=0)}, is_enforced=True),
        )
    )
    meters = MeterInterval(duration_s=1.0, packages={0: 30.0}, cores={0: 4.0, 3: 1.0})
    observer.observe(sample(0, known=("fw", "web")))

    found = observer.observe(sample(1, known=("fw", "web")), meters)

    assert found is not None
    assert found.by_core == {FW: 2.0, WEB: 2.0}
