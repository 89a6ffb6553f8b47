# SPDX-License-Identifier: Apache-2.0
"""The power of a busy core by its frequency, learnt from a package's meter.

Theory of operation: in each interval the package draws its static power, that of its
idle cores, and for each core-second what the curve of the thread's activity has at its
frequency. So the curves follow from many intervals by least squares. Two things keep
the result physical: power is never negative, and never falls with the frequency. Both
hold if the unknowns are the rises from one point of a curve to the next, none of which
is negative. The static power is not among the unknowns: core-seconds hardly vary in
their sum, so that a fit cannot separate it from them.

The observations are kept as a sum (the normal equations), in which old ones fade. What
was never observed follows a published curve, scaled to the observations, and then the
curve of the other activity, which differs by a nearly constant factor.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from itertools import accumulate
from typing import TYPE_CHECKING, NamedTuple

from orchestrator.energy.residency import Activity

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

POINTS = 8
"""Points of a learnt curve; between them it is straight."""
HALF_LIFE = 1_800.0
"""Observations, about half an hour, after which one counts half."""
PRIOR_CORE_S = 0.5
"""How strongly a published curve counts, as the square of core-seconds observed."""
_ACTIVITIES = tuple(Activity)
_FADING = 0.5 ** (1 / HALF_LIFE)
_NEARLY_NOTHING = 1e-9
MODEL_ERROR = 0.01
"""Relative error of a curve that was observed for long: threads of one activity differ
in what they draw."""
_COLLINEAR = 3.0
"""How much less is learnt because domains change frequencies together."""


class Curve(NamedTuple):
    """Watts of a busy core by its frequency; straight between points."""

    khz: tuple[int, ...]
    """Ascending, at least one."""
    watts: tuple[float, ...]

    def at(self, khz: int) -> float:
        """Return the power at a frequency; beyond the ends, that of the end."""
        return sum(weight * self.watts[index] for index, weight in weigh(self.khz, khz))


def weigh(points: Sequence[int], khz: int) -> tuple[tuple[int, float], ...]:
    """Return the indices of the points around a frequency, and their weights."""
    right = bisect_right(points, khz)
    if right == 0:
        return ((0, 1.0),)
    if right == len(points):
        return ((right - 1, 1.0),)
    share = (khz - points[right - 1]) / (points[right] - points[right - 1])
    return ((right - 1, 1 - share), (right, share))


def choose_points(steps: Iterable[int]) -> tuple[int, ...]:
    """Return some of the steps, both ends included, ascending.

    Raises:
        ValueError: there is none.
    """
    known = sorted(set(steps))
    if not known:
        raise ValueError("no steps")
    count = min(POINTS, len(known))
    last = max(1, count - 1)
    chosen = {known[round(n * (len(known) - 1) / last)] for n in range(count)}
    return tuple(sorted(chosen))


class CurveFit:
    """Learns the curves of one package.

    Synchronization: one thread.
    """

    def __init__(self, points: Sequence[int], published: Curve) -> None:
        """Know only the published curve.

        Args:
            points: frequencies at which the curves are to be known; see
                `choose_points`.
            published: the curve to begin with, for each activity.
        """
        self._points = tuple(points)
        self._prior = [published.at(khz) for khz in self._points]
        size = len(_ACTIVITIES) * len(self._points)
        self._products = [[0.0] * size for _ in range(size)]
        self._targets = [0.0] * size
        self._drawn = self._expected = 0.0
        self._weights: dict[int, tuple[tuple[int, float], ...]] = {}
        self.observations = 0
        self.curves: Mapping[Activity, Curve] = dict.fromkeys(
            _ACTIVITIES, Curve(self._points, tuple(self._prior))
        )
        """What is known now; `solve` updates it."""

    def observe(
        self, busy: Mapping[tuple[Activity, int], float], joules: float
    ) -> None:
        """Learn from an interval.

        Args:
            busy: core-seconds by activity and kHz.
            joules: what the busy cores drew, without static and idle energy.
        """
        row: dict[int, float] = {}
        for (activity, khz), core_s in busy.items():
            offset = _ACTIVITIES.index(activity) * len(self._points)
            for index, weight in self._weigh(khz):
                at = offset + index
                row[at] = row.get(at, 0.0) + weight * core_s
        if not row:
            return
        self._fade()
        for one, core_s in row.items():
            products = self._products[one]
            for other, other_s in row.items():
                products[other] += core_s * other_s
            self._targets[one] += core_s * joules
        self._drawn += joules
        self._expected += sum(
            self._prior[at % len(self._points)] * core_s for at, core_s in row.items()
        )
        self.observations += 1

    def _weigh(self, khz: int) -> tuple[tuple[int, float], ...]:
        found = self._weights.get(khz)
        if found is None:
            found = self._weights[khz] = weigh(self._points, khz)
        return found

    def _fade(self) -> None:
        # The sums are multiplied seldom: all of them cost as much as an observation.
        if self.observations % 60:
            return
        factor = _FADING**60
        self._products = [[factor * it for it in row] for row in self._products]
        self._targets = [factor * it for it in self._targets]
        self._drawn *= factor
        self._expected *= factor

    def solve(self) -> None:
        """Compute the curves from what was observed."""
        if self._expected <= _NEARLY_NOTHING:
            return
        scale = max(0.0, self._drawn / self._expected)
        published = [scale * watts for watts in self._prior]
        first = self._solve([published] * len(_ACTIVITIES))
        # The activity that was observed best, at its worst point, is the model of the
        # others where they were not observed.
        observed = [self._observed(number) for number in range(len(_ACTIVITIES))]
        best = max(range(len(_ACTIVITIES)), key=lambda number: min(observed[number]))
        model = first[best]
        second = self._solve(
            [
                published
                if number == best
                else _scale_to(model, first[number], observed[number])
                for number in range(len(_ACTIVITIES))
            ]
        )
        self.curves = {
            activity: Curve(self._points, watts)
            for activity, watts in zip(_ACTIVITIES, second, strict=True)
        }

    def _solve(self, prior: Sequence[Sequence[float]]) -> list[tuple[float, ...]]:
        products = [list(row) for row in self._products]
        targets = list(self._targets)
        for at, watts in enumerate(it for curve in prior for it in curve):
            products[at][at] += PRIOR_CORE_S
            targets[at] += PRIOR_CORE_S * watts
        count = len(self._points)
        rises = solve_nonnegative(*_as_rises(products, targets, count))
        return [
            tuple(accumulate(rises[start : start + count]))
            for start in range(0, len(rises), count)
        ]

    def _observed(self, number: int) -> list[float]:
        """Return what was observed at each point of a curve: root of core-seconds²."""
        start = number * len(self._points)
        ends = range(start, start + len(self._points))
        return [math.sqrt(self._products[at][at]) for at in ends]

    def uncertainty(
        self, activity: Activity, khz: int, residual_w: float, prior_error: float
    ) -> float:
        """Return the standard deviation of a curve at a frequency, in watts.

        Args:
            activity: which curve.
            khz: the frequency.
            residual_w: spread of the meter around what the curves predict.
            prior_error: relative uncertainty of the published curve.
        """
        observed = self._observed(_ACTIVITIES.index(activity))
        watts = self.curves[activity].at(khz)
        return sum(
            weight
            * min(
                prior_error * watts,
                _COLLINEAR * residual_w / max(observed[index], _NEARLY_NOTHING)
                + MODEL_ERROR * watts,
            )
            for index, weight in self._weigh(khz)
        )


def _scale_to(
    model: Sequence[float], watts: Sequence[float], observed: Sequence[float]
) -> list[float]:
    """Return a curve multiplied so that it fits another one where that was observed."""
    weight = sum(m * n for m, n in zip(model, observed, strict=True))
    if weight <= _NEARLY_NOTHING:
        return list(model)
    scale = sum(w * n for w, n in zip(watts, observed, strict=True)) / weight
    return [scale * it for it in model]


def _as_rises(
    products: list[list[float]], targets: list[float], count: int
) -> tuple[list[list[float]], list[float]]:
    """Return normal equations for the rises instead of the levels of each curve.

    A level is the sum of the rises up to it, so a rise takes part in all levels from
    its own to the end of its curve.
    """
    for row in products:
        _add_up(row, count)
    _add_up(targets, count)
    for start in range(0, len(products), count):
        for at in range(start + count - 2, start - 1, -1):
            after = products[at + 1]
            products[at] = [a + b for a, b in zip(products[at], after, strict=True)]
    return products, targets


def _add_up(row: list[float], count: int) -> None:
    for start in range(0, len(row), count):
        for at in range(start + count - 2, start - 1, -1):
            row[at] += row[at + 1]


def solve_nonnegative(
    products: Sequence[Sequence[float]], targets: Sequence[float]
) -> list[float]:
    """Return the x >= 0 with the least |A x - b|, from A'A and A'b.

    A'A must be positive definite. Source: Lawson and Hanson, Solving Least Squares
    Problems, chapter 23 (NNLS).
    """
    size = len(targets)
    found = [0.0] * size
    free: set[int] = set()
    tolerance = _NEARLY_NOTHING * max(map(abs, targets), default=0.0)
    for _ in range(3 * size):  # pragma: no branch - it ends after some `size`
        slope = {
            at: targets[at] - sum(products[at][other] * found[other] for other in free)
            for at in range(size)
            if at not in free
        }
        best = max(slope, key=slope.__getitem__, default=None)
        if best is None or slope[best] <= tolerance:
            break
        free.add(best)
        _descend(products, targets, found, free)
    return found


def _descend(
    products: Sequence[Sequence[float]],
    targets: Sequence[float],
    found: list[float],
    free: set[int],
) -> None:
    """Move to the best point in which only `free` are not zero, as far as permitted."""
    while free:  # pragma: no branch - what was added last is positive
        order = sorted(free)
        best = _solve(
            [[products[one][other] for other in order] for one in order],
            [targets[one] for one in order],
        )
        ideal = dict(zip(order, best, strict=True))
        blocked = [at for at in order if ideal[at] <= 0]
        if not blocked:
            for at in order:
                found[at] = ideal[at]
            return
        steps = {at: found[at] / (found[at] - ideal[at] or 1.0) for at in blocked}
        first = min(steps, key=steps.__getitem__)
        for at in order:
            found[at] += steps[first] * (ideal[at] - found[at])
        found[first] = 0.0
        free.discard(first)


def _solve(matrix: list[list[float]], right: list[float]) -> list[float]:
    """Solve linear equations with a positive definite matrix, by elimination."""
    size = len(right)
    for at in range(size):
        pivot = matrix[at][at]
        for below in range(at + 1, size):
            factor = matrix[below][at] / pivot
            if factor:
                upper, lower = matrix[at], matrix[below]
                for column in range(at, size):
                    lower[column] -= factor * upper[column]
                right[below] -= factor * right[at]
    found = [0.0] * size
    for at in range(size - 1, -1, -1):
        rest = sum(matrix[at][it] * found[it] for it in range(at + 1, size))
        found[at] = (right[at] - rest) / matrix[at][at]
    return found
