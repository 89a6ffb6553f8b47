"""What is made of two readings."""

from __future__ import annotations

import pytest

from orchestrator.sampling.readings import (
    BranchCount,
    BranchCounter,
    BranchReading,
    TrafficReading,
    UtilisationReading,
    branch_count,
    packets_per_s,
    utilisation,
)


@pytest.mark.parametrize(
    ("old", "new", "rate"),
    [
        (
            TrafficReading(1.0, {"a": 5, "b": 1}),
            TrafficReading(1.5, {"a": 8, "b": 1}),
            6,
        ),
        (TrafficReading(1.0, {"a": 5}), TrafficReading(2.0, {"a": 4}), None),
        (TrafficReading(1.0, {"a": 5}), TrafficReading(1.0, {"a": 6}), None),
        (TrafficReading(1.0, {"a": 5}), TrafficReading(2.0, {"a": 5, "b": 9}), None),
        (TrafficReading(1.0, {}), TrafficReading(2.0, {}), None),
    ],
)
def test_a_rate_is_of_the_same_interfaces_going_forward(
    old: TrafficReading, new: TrafficReading, rate: float | None
) -> None:
    assert packets_per_s(old, new) == rate


@pytest.mark.parametrize(
    ("old", "new", "load"),
    [
        (
            UtilisationReading(1.0, {0: 5}),
            UtilisationReading(2.0, {0: 250_000_005}),
            0.25,
        ),
        (UtilisationReading(1.0, {0: 5}), UtilisationReading(2.0, {0: 5}), 0.0),
        (UtilisationReading(1.0, {0: 0}), UtilisationReading(2.0, {0: 2 * 10**9}), 1.0),
        (UtilisationReading(1.0, {0: 5}), UtilisationReading(2.0, {0: 4}), None),
        (UtilisationReading(2.0, {0: 5}), UtilisationReading(2.0, {0: 6}), None),
        (UtilisationReading(1.0, {1: 5}), UtilisationReading(2.0, {0: 6}), None),
        (UtilisationReading(1.0, {0: 5}), UtilisationReading(2.0, {1: 6}), None),
    ],
)
def test_utilisation_is_a_part_of_the_time(
    old: UtilisationReading, new: UtilisationReading, load: float | None
) -> None:
    assert utilisation(old, new, 0) == load


@pytest.mark.parametrize(
    ("now", "count"),
    [
        (
            {2: BranchCounter(30, 3, 10**9), 3: BranchCounter(12, 1, 2 * 10**9)},
            BranchCount(42, 4, 2.0),
        ),
        ({2: BranchCounter(30, 3, 10**9)}, None),
        ({2: BranchCounter(30, 3, 0), 3: BranchCounter(1, 1, 5)}, None),
        ({2: BranchCounter(-1, 3, 7), 3: BranchCounter(1, 1, 5)}, None),
    ],
)
def test_branches_of_a_vcpu_are_those_of_all_its_cpus(
    now: dict[int, BranchCounter], count: BranchCount | None
) -> None:
    zero = BranchCounter(0, 0, 0)
    old = BranchReading(1.0, {2: zero, 3: zero})
    assert branch_count(old, BranchReading(2.0, now), [2, 3]) == count


def test_counters_that_did_not_count_say_nothing() -> None:
    same = BranchReading(1.0, {2: BranchCounter(9, 1, 7)})
    assert branch_count(same, same, [2]) is None
    assert branch_count(same, same, []) is None
