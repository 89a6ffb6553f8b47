# SPDX-License-Identifier: Apache-2.0
"""Frequency tables, with and without turbo: values only."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.values.frequencies import FrequencyTable, table_from

PLAIN = table_from([3_000_000, 2_000_000, 1_200_000])
TURBO = table_from([3_001_000, 3_000_000, 2_000_000, 1_200_000])

frequencies = st.integers(min_value=1, max_value=9_999_999)
tables = st.lists(frequencies, min_size=1, max_size=64).map(table_from)
any_khz = st.integers(min_value=-1_000, max_value=10_000_000)


def test_a_first_step_one_mhz_above_the_second_is_turbo() -> None:
    assert TURBO.has_turbo
    assert (TURBO.highest_khz, TURBO.nominal_khz) == (3_001_000, 3_000_000)


@pytest.mark.parametrize("gap_khz", [999, 1_001, 100_000])
def test_any_other_distance_is_no_turbo(gap_khz: int) -> None:
    steps = table_from([3_000_000 + gap_khz, 3_000_000])
    assert not steps.has_turbo
    assert steps.nominal_khz == steps.highest_khz == 3_000_000 + gap_khz


def test_a_driver_may_say_elsewhere_that_there_is_turbo() -> None:
    assert table_from([4_000_000, 3_000_000], has_turbo=True).nominal_khz == 3_000_000
    assert not table_from([3_001_000, 3_000_000], has_turbo=False).has_turbo


def test_one_step_is_never_turbo() -> None:
    steps = table_from([2_000_000], has_turbo=True)
    assert not steps.has_turbo
    assert steps.highest_khz == steps.nominal_khz == steps.lowest_khz == 2_000_000


@pytest.mark.parametrize("available", [[], [0], [0, -5]])
def test_a_table_without_frequencies_is_refused(available: list[int]) -> None:
    with pytest.raises(ValueError, match="no frequency"):
        table_from(available)


@pytest.mark.parametrize(
    ("khz", "up", "down"),
    [
        (3_001_000, 3_001_000, 3_000_000),
        (3_000_000, 3_001_000, 2_000_000),
        (2_500_000, 3_000_000, 2_000_000),
        (1_200_000, 2_000_000, 1_200_000),
    ],
)
def test_up_and_down_move_by_one_step_and_saturate(
    khz: int, up: int, down: int
) -> None:
    assert (TURBO.up_from(khz), TURBO.down_from(khz)) == (up, down)


@pytest.mark.parametrize(
    ("khz", "expected"),
    [
        (0, 1_200_000),
        (1_200_000, 1_200_000),
        (1_200_001, 2_000_000),
        (2_999_999, 3_000_000),
        (9_000_000, 3_000_000),
    ],
)
def test_rounding_up_ends_at_a_step_that_exists(khz: int, expected: int) -> None:
    assert PLAIN.round_up(khz) == expected


@given(tables)
def test_steps_descend_and_nominal_is_one_of_them(steps: FrequencyTable) -> None:
    assert list(steps.khz) == sorted(set(steps.khz), reverse=True)
    assert steps.nominal_khz in steps.khz
    assert steps.lowest_khz <= steps.nominal_khz <= steps.highest_khz


@given(tables, any_khz)
def test_rounding_gives_the_nearest_step_on_its_side(
    steps: FrequencyTable, khz: int
) -> None:
    above = [step for step in steps.khz if step >= khz]
    below = [step for step in steps.khz if step <= khz]
    assert steps.round_up(khz) == min(above, default=steps.highest_khz)
    assert steps.round_down(khz) == max(below, default=steps.lowest_khz)


@given(tables)
def test_walking_down_from_the_top_visits_every_step_and_back(
    steps: FrequencyTable,
) -> None:
    down = [steps.highest_khz]
    while steps.down_from(down[-1]) != down[-1]:
        down.append(steps.down_from(down[-1]))
    assert tuple(down) == steps.khz
    assert [steps.up_from(khz) for khz in down[1:]] == down[:-1]
    assert steps.up_from(steps.highest_khz) == steps.highest_khz
