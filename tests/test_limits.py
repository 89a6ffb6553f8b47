# SPDX-License-Identifier: Apache-2.0
"""Limits and windows."""

from __future__ import annotations

from itertools import permutations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.limits import NO_LIMITS, Limits, Window, turbo_limit, window_of
from orchestrator.values.frequencies import FrequencyTable, table_from

TURBO = table_from([3_001_000, 3_000_000, 2_000_000, 1_200_000])
PLAIN = table_from([3_000_000, 2_000_000, 1_200_000])

tables = st.lists(st.integers(1, 9_999_999), min_size=1, max_size=32).map(table_from)
any_khz = st.integers(-1_000, 10_000_000)
limits = st.builds(Limits, st.integers(0, 10_000_000), st.integers(0, 10_000_000))
windows = st.builds(
    lambda table, some: window_of(table, *some), tables, st.lists(limits, max_size=3)
)


@pytest.mark.parametrize(
    ("khz", "low", "high", "expected"),
    [
        (2_500_000, 0, 9_999_999, 3_000_000),
        (2_500_000, 0, 2_900_000, 2_000_000),
        (1_200_000, 1_500_000, 9_999_999, 2_000_000),
        (3_000_000, 0, 2_000_000, 2_000_000),
        (3_000_000, 2_100_000, 2_900_000, 2_000_000),
        (3_000_000, 0, 1_000_000, 1_200_000),
        (3_000_000, 2_900_000, 2_100_000, 2_000_000),
    ],
)
def test_an_upper_limit_that_a_step_can_meet_is_not_exceeded(
    khz: int, low: int, high: int, expected: int
) -> None:
    assert window_of(PLAIN, Limits(low, high)).fit(khz) == expected


def test_without_limits_the_window_has_all_steps() -> None:
    assert window_of(TURBO) == Window(TURBO, TURBO.lowest_khz, TURBO.highest_khz)
    assert window_of(TURBO, Limits.of(None, None)).khz == TURBO.khz
    assert Limits.of(None, None) == NO_LIMITS


@pytest.mark.parametrize(("is_allowed", "highest"), [(True, 0), (False, 1)])
def test_without_the_right_to_turbo_the_nominal_step_is_left(
    *, is_allowed: bool, highest: int
) -> None:
    window = window_of(TURBO, turbo_limit(TURBO, is_allowed=is_allowed))
    assert window.high_khz == TURBO.khz[highest]


@given(tables, st.lists(limits, max_size=3))
def test_the_order_of_limits_does_not_matter(
    table: FrequencyTable, some: list[Limits]
) -> None:
    assert len({window_of(table, *order) for order in permutations(some)}) == 1


@given(tables, limits, limits)
def test_an_intersection_permits_what_both_limits_permit(
    table: FrequencyTable, one: Limits, other: Limits
) -> None:
    assert window_of(table, one, other) == window_of(table, one.within(other))


@given(windows, any_khz)
def test_a_fitted_frequency_is_a_step_of_the_window(window: Window, khz: int) -> None:
    assert window.fit(khz) in window.khz
    assert window.khz[0] == window.high_khz
    assert window.khz[-1] == window.low_khz


@given(tables, limits, any_khz)
def test_limits_are_kept_if_a_step_is_within_them(
    table: FrequencyTable, limit: Limits, khz: int
) -> None:
    fitted = window_of(table, limit).fit(khz)
    within = [step for step in table.khz if limit.min_khz <= step <= limit.max_khz]
    if within:
        # The lowest step that is not below the request, else the highest.
        assert fitted == min((k for k in within if k >= khz), default=within[0])
    elif table.lowest_khz <= limit.max_khz:
        assert fitted == table.round_down(limit.max_khz)
    else:
        assert fitted == table.lowest_khz


@given(windows)
def test_stepping_visits_every_step_and_stays_in_the_window(window: Window) -> None:
    down = [window.high_khz]
    while window.step_down(down[-1]) != down[-1]:
        down.append(window.step_down(down[-1]))
    assert tuple(down) == window.khz
    assert [window.step_up(khz) for khz in down[1:]] == down[:-1]
    assert window.step_up(window.high_khz) == window.high_khz


@given(windows, any_khz)
def test_a_step_from_outside_enters_the_window(window: Window, khz: int) -> None:
    step = window.table.round_up(khz)
    assert window.step_up(step) in window.khz
    assert window.step_down(step) in window.khz
    assert window.clamp(step) in window.khz
