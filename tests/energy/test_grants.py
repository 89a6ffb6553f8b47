# SPDX-License-Identifier: Apache-2.0
"""Times of grants: which frequencies there were between two readings."""

from __future__ import annotations

import pytest

from orchestrator.energy.grants import (
    GrantTimes,
    GroupSample,
    Timeline,
    find_fastest,
    follow,
)

LOW, MIDDLE, HIGH = STEPS = (800_000, 2_400_000, 3_200_000)
SECOND = 1_000_000_000
BEGAN = 50 * SECOND


def sample(
    khz: int | None, *spent_s: float, none_s: float = 0.0, began_ns: int = BEGAN
) -> GroupSample:
    """Return a sample with what was counted for each step before the last change."""
    spent = tuple(round(it * SECOND) for it in spent_s) or (0,) * len(STEPS)
    times = GrantTimes(began_ns, STEPS, round(none_s * SECOND), spent)
    return GroupSample(khz, times, None)


def between(old: GroupSample, new: GroupSample, since_s: float = 10.0) -> Timeline:
    """Compare samples, a second apart; the first is `since_s` after the beginning."""
    old_ns = BEGAN + round(since_s * SECOND)
    found = follow(old, new, old_ns, old_ns + SECOND)
    assert sum(share for share, _ in found) == pytest.approx(1.0)
    return tuple((round(share, 9), khz) for share, khz in found)


def test_a_grant_that_did_not_change_is_the_only_one() -> None:
    assert between(sample(LOW), sample(LOW)) == ((1.0, LOW),)


def test_one_change_is_exact_in_time() -> None:
    found = between(sample(LOW), sample(HIGH, 10.25, 0, 0))

    assert found == ((0.25, LOW), (0.75, HIGH))


def test_a_grant_that_came_and_went_is_found() -> None:
    found = between(sample(LOW), sample(LOW, 10.4, 0, 0.2))

    assert found == ((0.4, LOW), (0.2, HIGH), (0.4, LOW))


def test_any_number_of_changes_is_exact_in_sum() -> None:
    old = sample(MIDDLE, 4, 3, 2.5)  # of 10 s; MIDDLE again for 0.5 s
    new = sample(HIGH, 4.3, 3.8, 2.7)  # of 11 s; HIGH again for 0.2 s

    assert between(old, new) == ((0.3, MIDDLE), (0.3, LOW), (0.4, HIGH))


def test_a_time_without_a_grant_is_not_counted() -> None:
    found = between(sample(LOW), sample(HIGH, 10.15, 0, 0, none_s=0.25))

    assert found == ((0.2, LOW), (0.8, HIGH))


def test_only_the_time_of_grants_counts_when_a_group_is_taken_or_released() -> None:
    taken = between(sample(None), sample(LOW, none_s=10.5))
    released = between(sample(HIGH), sample(None, 0, 0, 10.25))

    assert (taken, released) == (((1.0, LOW),), ((1.0, HIGH),))


@pytest.mark.parametrize(
    "new",
    [
        GroupSample(HIGH, None, None),
        sample(HIGH, 0.5, 0, 0, began_ns=BEGAN + 1),
        GroupSample(HIGH, GrantTimes(BEGAN, STEPS[:2], 0, (SECOND, 0)), None),
        GroupSample(None, None, HIGH),
    ],
    ids=["no times", "another monitor", "other steps", "not taken"],
)
def test_without_comparable_times_a_change_counts_for_half(new: GroupSample) -> None:
    assert between(sample(LOW), new) == ((0.5, LOW), (0.5, HIGH))


def test_of_what_a_damaged_table_has_no_time_is_negative() -> None:
    old = sample(LOW, 2**33, 0, 0)

    assert between(old, sample(HIGH, 0, 2**32, 0)) == ((1.0, MIDDLE),)


def test_the_fastest_of_one_is_itself() -> None:
    assert find_fastest([((0.2, LOW), (0.8, HIGH))]) == ((0.2, LOW), (0.8, HIGH))


def test_of_groups_that_change_at_different_times_the_fastest_counts() -> None:
    rising, falling = ((0.25, LOW), (0.75, HIGH)), ((0.5, MIDDLE), (0.5, LOW))

    found = find_fastest([rising, falling])

    assert [khz for _, khz in found] == [MIDDLE, HIGH, HIGH]
    assert [share for share, _ in found] == pytest.approx([0.25, 0.25, 0.5])


def test_groups_that_change_together_are_as_one() -> None:
    one = ((1 / 3, LOW), (1 / 3, HIGH), (1 / 3, LOW))

    found = find_fastest([one, one])

    assert [khz for _, khz in found] == [LOW, HIGH, LOW]
    assert [share for share, _ in found] == pytest.approx([1 / 3] * 3)


def test_changes_at_the_same_time_but_for_rounding_are_one() -> None:
    rounded = ((0.1, LOW), (0.2, LOW), (0.7, HIGH))
    assert 0.1 + 0.2 > 0.3

    found = find_fastest([rounded, ((0.3, LOW), (0.7, HIGH))])

    assert [khz for _, khz in found] == [LOW, LOW, HIGH]


def test_of_no_group_nothing_is_known() -> None:
    assert find_fastest([]) == ((1.0, 0),)
