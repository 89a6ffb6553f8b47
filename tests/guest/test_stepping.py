# SPDX-License-Identifier: Apache-2.0
"""Decisions of `vmpower-guest auto`, and loads from /proc/stat."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.channel.protocol import Unit
from orchestrator.guest.load import CpuTimes, loads_between, parse_stat
from orchestrator.guest.stepping import (
    MAX_STEPS,
    POLLING,
    StepState,
    Thresholds,
    decide,
)

THRESHOLDS = Thresholds(
    up_above=0.8,
    down_below=0.4,
    down_after_samples=3,
    max_down_after_samples=12,
    reverted_within_samples=5,
)
DOWN, MAX = Unit.SCALE_DOWN, Unit.SCALE_MAX

STAT = """\
cpu  40 0 40 720 0 0 0 0 0 0
cpu0 10 1 20 300 5 6 7 8 100 200
cpu11 30 0 20 420 0 0 0 0 0 0
intr 12345 0 0
ctxt 99
"""


def requests_for(loads: list[float]) -> list[Unit | None]:
    state, units = StepState(), []
    for load in loads:
        state, unit = decide(load, state, THRESHOLDS)
        units.append(unit)
    return units


def test_one_busy_sample_goes_to_the_highest_step() -> None:
    assert requests_for([0.0, 0.0, 0.0, 1.0]) == [None, None, DOWN, MAX]


def test_a_vcpu_that_stays_busy_sends_no_requests() -> None:
    assert requests_for([1.0] * 5) == [None] * 5


def test_each_run_of_calm_samples_is_one_step_down() -> None:
    assert requests_for([0.1] * 6) == [None, None, DOWN] * 2


def test_a_sample_between_the_thresholds_restarts_the_calm_run() -> None:
    assert requests_for([0.1, 0.1, 0.5, 0.1, 0.1, 0.1]) == [None] * 5 + [DOWN]


def test_a_reverted_step_doubles_the_wait_for_the_next() -> None:
    low = [0.1] * 3
    assert requests_for([*low, 0.9, *low, *low]) == [
        None,
        None,
        DOWN,
        MAX,
        *[None] * 5,
        DOWN,
    ]


def test_a_lasting_step_resets_the_wait() -> None:
    low, fine = [0.1] * 3, [0.5] * 5
    units = requests_for([*low, *fine, 0.9, *low])
    assert units == [None, None, DOWN, *[None] * 5, MAX, None, None, DOWN]


def test_an_idle_vcpu_stops_sending_requests() -> None:
    assert requests_for([0.0] * 3 * (MAX_STEPS + 5)).count(DOWN) == MAX_STEPS


@given(st.lists(st.floats(0, 1)))
def test_the_wait_is_bounded(loads: list[float]) -> None:
    state = StepState()
    for load in loads:
        state, _ = decide(load, state, THRESHOLDS)
        assert state.required <= THRESHOLDS.max_down_after_samples
        assert state.steps_down <= MAX_STEPS


@given(st.lists(st.floats(0, 1)))
def test_a_busy_vcpu_is_at_the_highest_step(loads: list[float]) -> None:
    state = StepState()
    for load in [*loads, 0.8]:
        state, _ = decide(load, state, THRESHOLDS)
    assert state.steps_down == 0


def test_cpu_times_are_read_per_vcpu() -> None:
    # Idle and iowait are not busy; guest times are included in user time.
    assert parse_stat(STAT) == {0: CpuTimes(52, 357), 11: CpuTimes(50, 470)}


def test_a_load_is_the_busy_share_of_the_elapsed_time() -> None:
    before = {0: CpuTimes(50, 100), 1: CpuTimes(50, 100), 2: CpuTimes(50, 100)}
    after = {0: CpuTimes(55, 120), 1: CpuTimes(50, 100), 3: CpuTimes(1, 2)}
    assert loads_between(before, after) == {0: 0.25}


def test_a_decreasing_idle_counter_gives_no_load_above_1() -> None:
    assert loads_between({0: CpuTimes(0, 100)}, {0: CpuTimes(30, 120)}) == {0: 1.0}


def test_a_polling_vcpu_climbs_by_one_step_and_jumps_if_it_is_late() -> None:
    state, units = StepState(), []
    for load in [0.2] * 4 + [0.5, 0.5, 0.5] + [0.2] * 2 + [0.75]:
        state, unit = decide(load, state, POLLING)
        units.append(unit)
    up = Unit.SCALE_UP
    # The third load of 0.5 is that of the highest step, which nothing exceeds.
    assert units == [None, DOWN, None, DOWN, up, up, None, None, DOWN, MAX]
    assert state.steps_down == 0


def test_a_polling_vcpu_has_to_be_less_busy_at_lower_steps() -> None:
    highest, tenth = POLLING.at(0), POLLING.at(10)
    assert highest == (POLLING.climb_above, POLLING.down_below)
    assert tenth == pytest.approx([0.65 * it for it in highest])
    # However many steps there are, some load is low enough.
    assert min(POLLING.at(MAX_STEPS)) > 0.1
    load = POLLING.down_below - 0.01
    assert decide(load, StepState(low=9), POLLING).unit is DOWN
    assert decide(load, StepState(low=9, steps_down=10), POLLING).unit is Unit.SCALE_UP


def test_other_vcpus_have_the_same_thresholds_at_all_steps() -> None:
    assert THRESHOLDS.at(0) == THRESHOLDS.at(12)
