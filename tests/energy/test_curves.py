# SPDX-License-Identifier: Apache-2.0
"""Learnt curves: least squares without negative power, monotone, from few points."""

from __future__ import annotations

import random

import pytest

from orchestrator.energy.curves import (
    Curve,
    CurveFit,
    choose_points,
    solve_nonnegative,
    weigh,
)
from orchestrator.energy.profiles import GENERIC, Profile, find_model_name, find_profile
from orchestrator.energy.residency import Activity

STEPS = (800_000, 1_600_000, 2_400_000, 3_200_000)
FLAT = Curve(STEPS, (1.0, 1.0, 1.0, 1.0))


def learn(truth: dict[Activity, Curve], rounds: int = 300) -> CurveFit:
    random_ = random.Random(3)
    fit = CurveFit(STEPS, FLAT)
    for _ in range(rounds):
        busy = {
            (activity, random_.choice(STEPS)): random_.uniform(0.5, 4.0)
            for activity in truth
        }
        joules = sum(
            core_s * truth[activity].at(khz) for (activity, khz), core_s in busy.items()
        )
        fit.observe(busy, joules)
    fit.solve()
    return fit


def test_a_curve_is_straight_between_points_and_flat_beyond() -> None:
    curve = Curve((1_000, 2_000), (1.0, 3.0))

    assert [curve.at(khz) for khz in (500, 1_000, 1_500, 2_000, 9_000)] == [
        1,
        1,
        2,
        3,
        3,
    ]
    assert weigh((1_000,), 7) == ((0, 1.0),)


@pytest.mark.parametrize(
    ("steps", "points"),
    [((5,), (5,)), ((2, 1, 2), (1, 2)), (range(100), (0, 14, 28, 42, 57, 71, 85, 99))],
)
def test_points_are_some_of_the_steps(
    steps: tuple[int, ...], points: tuple[int, ...]
) -> None:
    assert choose_points(steps) == points


def test_no_steps_have_no_points() -> None:
    with pytest.raises(ValueError, match="no steps"):
        choose_points(())


def test_both_activities_are_learnt() -> None:
    truth = {
        Activity.POLL: Curve(STEPS, (1.1, 1.7, 2.7, 4.2)),
        Activity.OTHER: Curve(STEPS, (1.6, 2.4, 3.9, 6.0)),
    }

    fit = learn(truth)

    for activity, curve in truth.items():
        found = fit.curves[activity].watts
        assert found == pytest.approx(curve.watts, rel=0.02)


def test_what_was_not_observed_follows_the_other_activity() -> None:
    fit = CurveFit(STEPS, FLAT)
    poll = Curve(STEPS, (1.0, 2.0, 3.0, 5.0))
    for number in range(400):
        khz = STEPS[number % 4]
        fit.observe({(Activity.POLL, khz): 4.0}, 4.0 * poll.at(khz))
        fit.observe({(Activity.OTHER, STEPS[0]): 4.0}, 4.0 * 1.5)
    fit.solve()

    assert fit.curves[Activity.OTHER].at(STEPS[3]) == pytest.approx(7.5, rel=0.05)


def test_without_any_observation_of_the_other_activity_it_is_the_same_curve() -> None:
    poll = Curve(STEPS, (1.0, 2.0, 3.0, 5.0))
    fit = learn({Activity.POLL: poll})

    assert fit.curves[Activity.OTHER].watts == pytest.approx(poll.watts, rel=0.02)


def test_power_never_falls_with_the_frequency_and_is_never_negative() -> None:
    fit = learn({Activity.POLL: Curve(STEPS, (3.0, -2.0, 4.0, 1.0))})

    watts = fit.curves[Activity.POLL].watts
    assert list(watts) == sorted(watts)
    assert watts[0] >= 0


def test_before_any_observation_the_published_curve_is_known() -> None:
    fit = CurveFit(STEPS, FLAT)
    fit.observe({}, 5.0)
    fit.solve()

    assert fit.observations == 0
    assert fit.curves[Activity.POLL].watts == FLAT.watts


def test_uncertainty_falls_with_observations() -> None:
    few = learn({Activity.POLL: FLAT}, rounds=5)
    many = learn({Activity.POLL: FLAT}, rounds=500)

    unknown = CurveFit(STEPS, FLAT).uncertainty(Activity.POLL, STEPS[0], 1.0, 0.3)
    assert unknown == pytest.approx(0.3)
    assert many.uncertainty(Activity.POLL, STEPS[0], 0.5, 0.3) < few.uncertainty(
        Activity.POLL, STEPS[0], 0.5, 0.3
    )


def test_old_observations_fade() -> None:
    fit = CurveFit(STEPS, FLAT)
    for watts in (2.0, 6.0):
        for _ in range(5_000):
            fit.observe({(Activity.POLL, STEPS[0]): 1.0}, watts)
    fit.solve()

    assert fit.curves[Activity.POLL].at(STEPS[0]) == pytest.approx(5.4, abs=0.2)


def test_least_squares_without_negative_numbers() -> None:
    # |x - 1|² + |y + 1|² + |x + y - 0|²: y is at its bound, x is then 1/2.
    products, targets = [[2.0, 1.0], [1.0, 2.0]], [1.0, -1.0]

    assert solve_nonnegative(products, targets) == pytest.approx([0.5, 0.0])


def test_least_squares_releases_what_was_positive_at_first() -> None:
    # Alone, the second is the best; beside the first it would be negative.
    products, targets = [[1.0, 2.0], [2.0, 4.5]], [4.0, 7.9]

    assert solve_nonnegative(products, targets) == pytest.approx([4.0, 0.0])
    assert solve_nonnegative([], []) == []


@pytest.mark.parametrize("seed", range(40))
def test_least_squares_cannot_be_improved_within_the_bounds(seed: int) -> None:
    random_ = random.Random(seed)
    rows = [[random_.gauss(0, 1) for _ in range(6)] for _ in range(9)]
    products = [[sum(r[i] * r[j] for r in rows) for j in range(6)] for i in range(6)]
    targets = [random_.gauss(0, 3) for _ in range(6)]

    found = solve_nonnegative(products, targets)

    for at, value in enumerate(found):
        slope = targets[at] - sum(
            product * other for product, other in zip(products[at], found, strict=True)
        )
        assert value >= 0
        assert slope == pytest.approx(0, abs=1e-6) if value else slope <= 1e-6


CASCADE_LAKE = """\
processor\t: 0
vendor_id\t: GenuineIntel
cpu family\t: 6
model\t\t: 85
model name\t: Intel(R) Xeon(R) Gold 6230N CPU @ 2.30GHz
stepping\t: 7
flags\t\t: fpu

processor\t: 1
model\t\t: 1
"""


@pytest.mark.parametrize(
    ("cpuinfo", "name"),
    [
        (CASCADE_LAKE, "Xeon Scalable, second generation"),
        (CASCADE_LAKE.replace(": 7", ": 4"), "Xeon Scalable, first generation"),
        (CASCADE_LAKE.replace(": 85", ": 143"), "Xeon Scalable, fourth generation"),
        (CASCADE_LAKE.replace(": 85", ": 3"), GENERIC.name),
        (
            "vendor_id : AuthenticAMD\ncpu family : 25\nmodel : 17\n",
            "EPYC 9004 and 9005",
        ),
        ("CPU implementer : 0x41\nCPU part : 0xd0c\n", "Ampere Altra"),
        ("nothing known", GENERIC.name),
    ],
)
def test_the_class_of_a_processor(cpuinfo: str, name: str) -> None:
    assert find_profile(cpuinfo).name == name


def test_the_model_of_a_processor() -> None:
    assert find_model_name(CASCADE_LAKE) == "Intel(R) Xeon(R) Gold 6230N CPU @ 2.30GHz"
    assert find_model_name("CPU part : 0xd0c\n") == "0xd0c"
    assert find_model_name("") == ""


def test_a_published_curve_rises_to_the_power_of_a_busy_core() -> None:
    profile = Profile("two sockets", 100.0, 5.0)
    curve = profile.curve(800_000, 3_200_000)

    assert list(curve.watts) == sorted(curve.watts)
    assert curve.at(3_200_000) == pytest.approx(profile.busy_core_w) == 4.0
    assert profile.static_w == 30.0
    assert profile.curve(2_000_000, 2_000_000).khz == (2_000_000,)
