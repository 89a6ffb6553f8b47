# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.errors import ConfigError
from orchestrator.policy.timetable import (
    DAYS,
    EVERY_DAY,
    Window,
    format_window,
    is_within,
    parse_window,
    whole_hours,
)


def on(day: str, time: str) -> datetime:
    hour, minute = time.split(":")
    # The first of June 2026 is a Monday.
    return datetime(2026, 6, 1 + DAYS.index(day), int(hour), int(minute), tzinfo=UTC)


@pytest.mark.parametrize(
    ("text", "window"),
    [
        ("08:00-18:30", Window(days=EVERY_DAY, begin_min=480, length_min=630)),
        ("22:00-06:00", Window(days=EVERY_DAY, begin_min=1320, length_min=480)),
        ("sat,sun", Window(days=frozenset({5, 6}), begin_min=0, length_min=1440)),
        ("fri-mon", Window(days=frozenset({4, 5, 6, 0}), begin_min=0, length_min=1440)),
        (
            " Mon-Wed,fri  9:05 - 24:00 ",
            Window(days=frozenset({0, 1, 2, 4}), begin_min=545, length_min=895),
        ),
    ],
)
def test_windows_are_read_as_people_write_them(text: str, window: Window) -> None:
    assert parse_window(text) == window


@pytest.mark.parametrize(
    "text",
    [
        "",
        "8-18",
        "08:00",
        "08:60-09:00",
        "24:01-08:00",
        "08:00-08:00",
        "24:00-08:00",
        "monday 08:00-09:00",
        "mon-",
        "mon,,tue",
        "08:00-09:00 mon",
        "-1:00-02:00",
    ],
)
def test_an_invalid_window_is_refused(text: str) -> None:
    with pytest.raises(ConfigError, match=r"invalid (time|day) '"):
        parse_window(text)


@pytest.mark.parametrize(
    ("text", "error"),
    [
        (
            "9-17",
            "invalid time '9-17': expected 09:00-17:00 or mon-fri 08:00-18:00",
        ),
        ("08:00-08:00", "invalid time '08:00-08:00': it ends when it begins"),
        (
            "monday",
            (
                "invalid day 'monday' in 'monday': expected mon, tue, wed, thu, fri,"
                " sat, sun"
            ),
        ),
    ],
)
def test_an_invalid_window_has_a_reason(text: str, error: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse_window(text)
    assert str(caught.value) == error


def test_a_window_over_midnight_belongs_to_the_day_on_which_it_begins() -> None:
    night = [parse_window("fri 22:00-06:00")]
    assert is_within(night, on("fri", "22:00"))
    assert is_within(night, on("sat", "05:59"))
    assert not is_within(night, on("sat", "06:00"))
    assert not is_within(night, on("sat", "22:00"))
    assert not is_within(night, on("fri", "05:59"))


def test_sunday_night_reaches_into_monday() -> None:
    assert is_within([parse_window("sun 23:00-01:00")], on("mon", "00:59"))


@given(hours=st.sets(st.integers(0, 23)), hour=st.integers(0, 23))
def test_whole_hours_cover_just_themselves(hours: set[int], hour: int) -> None:
    assert is_within(whole_hours(hours), on("tue", f"{hour}:59")) == (hour in hours)
    assert is_within(whole_hours(hours), on("tue", f"{hour}:00")) == (hour in hours)


@pytest.mark.parametrize(
    ("hours", "texts"),
    [
        ([], []),
        ([3, 4, 5, 8], ["03:00-06:00", "08:00-09:00"]),
        ([23, 0, 1], ["00:00-02:00", "23:00-24:00"]),
        (range(24), ["00:00-24:00"]),
    ],
)
def test_hours_in_a_row_are_one_window(hours: list[int], texts: list[str]) -> None:
    assert [format_window(window) for window in whole_hours(hours)] == texts


@pytest.mark.parametrize(
    "text",
    [
        "mon-fri 08:00-18:00",
        "sat,sun 00:00-24:00",
        "mon,wed-sun 08:00-09:00",
        "tue 08:00-09:00",
    ],
)
def test_days_in_a_row_are_written_as_people_write_them(text: str) -> None:
    assert format_window(parse_window(text)) == text


@given(
    st.builds(
        Window,
        days=st.frozensets(st.integers(0, 6), min_size=1),
        begin_min=st.integers(0, 1439),
        length_min=st.integers(1, 1439),
    )
)
def test_a_window_is_written_so_that_it_is_read_again(window: Window) -> None:
    assert parse_window(format_window(window)) == window


def test_a_whole_day_is_written_so_too() -> None:
    assert format_window(parse_window("sat,sun")) == "sat,sun 00:00-24:00"
