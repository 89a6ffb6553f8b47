# SPDX-License-Identifier: Apache-2.0
"""Draws the saving benchmark: the day, and the trade of energy for delay."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bench.aims import SAVING_DELAY_RATIO, SAVING_PCT
from cli.output.chart import Point, Series, line_chart, scatter_chart, stack

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from bench.figures import SavingRow

_WORST = 5.0
"""Times the delay of the first row; what is slower is drawn at this edge."""


def write_picture(path: Path, rows: Sequence[SavingRow]) -> None:
    """Write the picture of a run.

    Args:
        path: an SVG file; it is overwritten.
        rows: the first one is what the others are compared with.
    """
    base = rows[0]
    distinct = [base, *(row for row in rows[1:] if row.hourly_w != base.hourly_w)]
    hours = [f"{hour:02}" for hour in range(len(base.hourly_w))]
    same = [row.name for row in rows[1:] if row.hourly_w == base.hourly_w]
    name = ", ".join([base.name, *same])
    series = [Series(name, base.hourly_w)]
    series += [Series(row.name, row.hourly_w) for row in distinct[1:]]
    day = line_chart("Package power, modelled, in watts, by hour", hours, series)
    trade = scatter_chart(
        "p99.9 delay, relative to the highest step (shaded: the aim)",
        "package energy saved, in percent",
        [
            Point(row.name, row.saved_pct(base), row.p999_us / base.p999_us)
            for row in distinct
        ],
        x_range=(0, 50),
        y_range=(0, _WORST),
        target=(SAVING_PCT, SAVING_DELAY_RATIO),
    )
    path.write_text(stack([day, trade], "A day of traffic"), encoding="utf-8")
