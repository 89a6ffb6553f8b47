# SPDX-License-Identifier: Apache-2.0
"""Core-seconds by slot: SMT, sums of intervals."""

from __future__ import annotations

import pytest

from orchestrator.energy.residency import (
    Activity,
    ClockShare,
    DomainEnergy,
    EnergyInterval,
    HostEnergy,
    MeterSource,
    Slot,
    ThreadRun,
    account,
    classify,
    combine,
)
from orchestrator.values.domain import DomainId

FW, WEB = DomainId("fw"), DomainId("web")
LOW, HIGH = 800_000, 3_200_000
AT_LOW = ClockShare(1.0, LOW, LOW, HIGH)
POLL_LOW = Slot(Activity.POLL, 2, LOW, LOW, HIGH)


def poll(uuid: DomainId, core: int | None, run_s: float = 1.0) -> ThreadRun:
    return ThreadRun(uuid, Activity.POLL, 2, core, run_s, (AT_LOW,))


def interval(start: float, joules: float, hole: str = "") -> EnergyInterval:
    return EnergyInterval(
        start=start,
        duration_s=1.0,
        domains={FW: DomainEnergy(joules=joules, residency={POLL_LOW: 1.0})},
        host=HostEnergy(
            source=MeterSource.POWERCAP,
            measured_joules=50.0 + joules,
            static_joules=45.0,
            idle_joules=5.0,
            host_joules=0.0,
            dram_joules=None if hole else 3.0,
            hole=hole,
        ),
    )


def test_core_seconds_are_split_over_the_frequencies_of_the_interval() -> None:
    clock = (ClockShare(0.25, LOW, LOW, HIGH), ClockShare(0.75, HIGH, LOW, HIGH))
    run = ThreadRun(FW, Activity.OTHER, 2, 0, 0.4, clock)

    assert account([run], 1.0) == {
        FW: {
            Slot(Activity.OTHER, 2, LOW, LOW, HIGH): pytest.approx(0.1),
            Slot(Activity.OTHER, 2, HIGH, LOW, HIGH): pytest.approx(0.3),
        }
    }


def test_two_busy_threads_of_a_core_count_as_one_core_and_15_percent() -> None:
    found = account([poll(FW, 0), poll(WEB, 0)], 1.0)

    assert found[FW][POLL_LOW] == found[WEB][POLL_LOW] == pytest.approx(0.575)


def test_threads_of_different_cores_count_in_full() -> None:
    found = account([poll(FW, 0), poll(FW, 1), poll(FW, None)], 1.0)

    assert found[FW][POLL_LOW] == pytest.approx(3.0)


def test_a_sibling_that_runs_half_the_time_shares_the_core_half_the_time() -> None:
    found = account([poll(FW, 0), poll(WEB, 0, 0.5)], 1.0)

    assert found[FW][POLL_LOW] == pytest.approx(1 - 0.425 / 2)
    assert found[WEB][POLL_LOW] == pytest.approx(0.5 * 0.575)


@pytest.mark.parametrize(
    ("run_s", "activity"), [(0.94, Activity.OTHER), (0.96, Activity.POLL)]
)
def test_a_vcpu_that_always_runs_polls(run_s: float, activity: Activity) -> None:
    assert classify(run_s, 1.0) is activity


def test_combined_intervals_have_the_sums() -> None:
    both = combine([interval(100.0, 2.0), interval(101.0, 3.0)])

    assert (both.start, both.duration_s) == (100.0, 2.0)
    assert both.domains[FW].joules == 5.0
    assert both.domains[FW].residency == {POLL_LOW: 2.0}
    assert both.host.measured_joules == 105.0
    assert both.host.dram_joules == 6.0
    assert not both.host.is_modelled


def test_a_combined_interval_with_a_hole_has_a_hole() -> None:
    both = combine([interval(100.0, 2.0, hole="gap"), interval(101.0, 3.0)])

    assert both.host.hole == "gap"
    assert both.host.is_modelled
    assert both.host.dram_joules == 3.0


def test_nothing_cannot_be_combined() -> None:
    with pytest.raises(ValueError, match="no interval"):
        combine([])
