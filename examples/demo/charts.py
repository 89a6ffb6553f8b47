# SPDX-License-Identifier: Apache-2.0
"""Bars and charts of block characters; pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

_EIGHTHS = " ▁▂▃▄▅▆▇█"
_FULL = len(_EIGHTHS) - 1


@dataclass(frozen=True, slots=True)
class Scale:
    """The range of values that can be drawn."""

    low: float
    high: float

    def share(self, value: float) -> float:
        """Return the position of a value, from 0 to 1."""
        if self.high <= self.low:
            return 1.0
        return min(1.0, max(0.0, (value - self.low) / (self.high - self.low)))


def resample(
    points: Sequence[tuple[float, float]], span: float, width: int
) -> list[float | None]:
    """Average points over time in columns.

    Args:
        points: time and value, by time.
        span: the time that all columns cover, from 0.
        width: number of columns.

    Returns:
        A value for each column; a column between two points repeats the earlier one,
        those before the first and after the last point are None.
    """
    columns: list[list[float]] = [[] for _ in range(width)]
    for at, value in points:
        columns[min(width - 1, max(0, int(at / span * width)))].append(value)
    last_filled = max((i for i, c in enumerate(columns) if c), default=-1)
    values: list[float | None] = []
    for index, column in enumerate(columns):
        if column:
            values.append(sum(column) / len(column))
        else:
            is_gap = bool(values) and index <= last_filled
            values.append(values[-1] if is_gap else None)
    return values


def draw(values: Sequence[float | None], scale: Scale, height: int) -> list[str]:
    """Draw columns; the first line is the top one.

    The lowest value is drawn as an eighth, to distinguish it from no value.
    """
    levels = [
        0 if v is None else max(1, round(scale.share(v) * height * _FULL))
        for v in values
    ]
    return [
        "".join(_EIGHTHS[min(_FULL, max(0, level - row * _FULL))] for level in levels)
        for row in reversed(range(height))
    ]


def bar(share: float, width: int) -> tuple[str, str]:
    """Return the filled and the empty part of a bar."""
    filled = round(min(1.0, max(0.0, share)) * width)
    return "━" * filled, "─" * (width - filled)


def percentile(values: Sequence[int], percent: float) -> int | None:
    """Return a percentile of the values; None without values."""
    if not values:
        return None
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * percent / 100))]
