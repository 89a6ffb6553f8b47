# SPDX-License-Identifier: Apache-2.0
"""Charts over time: their parts, the labels of these, and the bands of frequencies."""

from __future__ import annotations

from datetime import datetime, timedelta

import pytest

from cli.output.chart import Series, column_chart
from cli.report.charts import _bands, _label_days, choose_step_s
from cli.report.figures import DAY_S, HOUR_S, align

NOW = datetime.fromisoformat("2026-11-27T21:02:33+01:00")


@pytest.mark.parametrize(
    ("hours", "age_hours", "step_s"),
    [
        (1, 1, 60),
        (24, 24, 600),
        (72, 72, HOUR_S),
        # What is older than two days is known by the hour.
        (1, 60, HOUR_S),
        (24, 72, HOUR_S),
        (24 * 30, 24 * 30, 6 * HOUR_S),
        (24 * 300, 24 * 300, 2 * DAY_S),
    ],
)
def test_parts_are_no_shorter_than_what_is_known(
    hours: int, age_hours: int, step_s: int
) -> None:
    length, age = timedelta(hours=hours), timedelta(hours=age_hours)
    assert choose_step_s(length, age) == step_s


@pytest.mark.parametrize(
    ("step_s", "begin"),
    [
        (60, "2026-11-27T21:02:00+01:00"),
        (600, "2026-11-27T21:00:00+01:00"),
        (HOUR_S, "2026-11-27T21:00:00+01:00"),
        (6 * HOUR_S, "2026-11-27T18:00:00+01:00"),
        (2 * DAY_S, "2026-11-27T00:00:00+01:00"),
    ],
)
def test_parts_begin_at_full_hours(step_s: int, begin: str) -> None:
    assert align(NOW, step_s) == datetime.fromisoformat(begin)


def test_a_day_has_its_date_once_and_noon() -> None:
    hours = [align(NOW, HOUR_S) + timedelta(hours=it) for it in range(40)]
    labels = _label_days(hours, has_noon=True)
    assert [it for it in labels if it] == [*("11-28", "12:00", "11-29", "12:00")]
    assert labels.index("11-28") == 3
    assert "12:00" not in _label_days(hours, has_noon=False)
    assert _label_days(hours[:8], has_noon=True)[0] == "11-27"


def test_labels_do_not_overlap_and_gaps_between_them_are_used() -> None:
    values = Series("x", [1.0] * 200)
    crowded = column_chart("t", ["12:00"] * 200, [values])
    assert 0 < crowded.count("12:00") < 30
    sparse = column_chart("t", ["12:00", *[""] * 50, "13:00", *[""] * 148], [values])
    assert "12:00" in sparse
    assert "13:00" in sparse


def test_a_band_is_named_by_the_frequencies_in_it() -> None:
    few = _bands([1_200_000, 3_000_000])
    assert few == {1_200_000: "1.20 GHz", 3_000_000: "3.00 GHz"}
    many = _bands([800_000, *range(2_000_000, 3_100_000, 100_000)])
    assert many[800_000] == "800 MHz"
    assert many[3_000_000] == "2.80-3.00 GHz"
