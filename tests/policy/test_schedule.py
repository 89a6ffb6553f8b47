# SPDX-License-Identifier: Apache-2.0
"""When a policy changes its level, and to what."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from orchestrator.policy.kinds.time_of_day import Otherwise, TimeOfDay
from orchestrator.policy.kinds.workload import FixedWorkload, Workload
from orchestrator.policy.schedule import (
    Change,
    Outlook,
    ScheduledLevel,
    find_changes,
    next_change,
)
from orchestrator.policy.text import parse_policies
from orchestrator.policy.timetable import DAYS, Window, whole_hours
from tests.policy.vcpu_samples import TRAFFIC
from tests.properties import examples

BERLIN = ZoneInfo("Europe/Berlin")
WEEK = timedelta(days=7)


def in_berlin(moment: datetime) -> datetime:
    return moment.astimezone(BERLIN)


def changes(text: str, begin: str, days: int = 7) -> list[str]:
    """Write the changes of a policy on a host in Berlin, with its local times."""
    (rule,) = parse_policies(text)
    moment = datetime.fromisoformat(begin)
    end = moment + timedelta(days=days)
    found = find_changes(rule.build_policy(), moment, end, in_berlin)
    return [f"{it.at:%a %H:%M%z} {it.level}" for it in found]


def test_a_timetable_changes_where_its_windows_begin_and_end() -> None:
    # A Thursday in winter.
    assert changes(
        "time-of-day busy='mon-fri 08:00-18:00' quiet='sat 22:00-06:00'",
        "2026-03-05T12:34:56.789+01:00",
    ) == [
        "Thu 12:34+0100 highest",
        "Thu 18:00+0100 none",
        "Fri 08:00+0100 highest",
        "Fri 18:00+0100 none",
        "Sat 22:00+0100 lowest",
        "Sun 06:00+0100 none",
        "Mon 08:00+0100 highest",
        "Mon 18:00+0100 none",
        "Tue 08:00+0100 highest",
        "Tue 18:00+0100 none",
        "Wed 08:00+0100 highest",
        "Wed 18:00+0100 none",
        "Thu 08:00+0100 highest",
    ]


@pytest.mark.parametrize(
    ("otherwise", "expected"),
    [
        ("none", ["lowest", "none"]),
        ("busy", ["lowest", "highest"]),
        ("medium", ["lowest", "middle"]),
        # Nothing ever changes.
        ("quiet", ["lowest"]),
        ("unchanged", ["lowest"]),
    ],
)
def test_what_applies_otherwise_is_a_change_if_it_is_another_level(
    otherwise: str, expected: list[str]
) -> None:
    text = f"time-of-day quiet=12:00-13:00 otherwise={otherwise}"
    found = changes(text, "2026-03-05T12:00+01:00", days=1)
    assert [line.split()[-1] for line in found] == expected


def test_before_the_first_window_unchanged_is_shown_as_such() -> None:
    text = "time-of-day quiet=12:00-13:00 otherwise=unchanged"
    assert changes(text, "2026-03-05T10:00+01:00") == [
        "Thu 10:00+0100 unchanged",
        "Thu 12:00+0100 lowest",
    ]


def test_times_of_traffic_depend_on_samples() -> None:
    text = "time-of-day traffic=12:00-13:00 avg-pps=1 max-pps=2 otherwise=quiet"
    assert changes(text, "2026-03-05T10:00+01:00", days=1) == [
        "Thu 10:00+0100 lowest",
        "Thu 12:00+0100 sampled",
        "Thu 13:00+0100 lowest",
    ]


def test_times_of_traffic_without_rates_have_no_vote() -> None:
    policy = TimeOfDay(traffic=whole_hours([12]), otherwise=Otherwise.QUIET)
    noon = datetime(2026, 3, 5, 12, tzinfo=BERLIN)
    (found, *_) = find_changes(policy, noon, noon + WEEK, in_berlin)
    assert found == (noon, "none")


@pytest.mark.parametrize(
    ("window", "begin", "expected"),
    [
        # 02:00 is followed by 03:00.
        ("02:30-03:30", "2026-03-29T00:00+01:00", ["03:00+0200", "03:30+0200"]),
        ("02:00-03:00", "2026-03-29T00:00+01:00", []),
        ("22:00-06:00", "2026-03-28T20:00+01:00", ["22:00+0100", "06:00+0200"]),
        # 03:00 is followed by 02:00: what is between comes twice.
        (
            "02:30-02:45",
            "2026-10-25T00:00+02:00",
            ["02:30+0200", "02:45+0200", "02:30+0100", "02:45+0100"],
        ),
        ("02:00-03:00", "2026-10-25T00:00+02:00", ["02:00+0200", "03:00+0100"]),
    ],
)
def test_daylight_saving_time_moves_windows_and_not_their_times(
    window: str, begin: str, expected: list[str]
) -> None:
    zoned = changes(f"time-of-day busy={window} zone=Europe/Berlin", begin, days=1)
    assert [line.split()[1] for line in zoned[1:]] == expected
    assert changes(f"time-of-day busy={window}", begin, days=1) == zoned


def test_the_zone_of_the_policy_decides_and_not_the_hosts() -> None:
    text = "time-of-day busy='mon 08:00-18:00' zone=Asia/Tokyo"
    assert changes(text, "2026-03-01T20:00+01:00", days=1) == [
        "Mon 04:00+0900 none",
        "Mon 08:00+0900 highest",
        "Mon 18:00+0900 none",
    ]


def test_policies_that_do_not_depend_on_the_time_have_one_level() -> None:
    begin = "2026-03-05T10:00+01:00"
    assert changes("workload medium", begin) == ["Thu 10:00+0100 middle"]
    assert changes("utilisation", begin) == ["Thu 10:00+0100 sampled"]


def test_the_next_change_is_the_first_after_now() -> None:
    now = datetime(2026, 3, 27, 20, tzinfo=BERLIN)
    (rule,) = parse_policies("time-of-day busy='mon-fri 08:00-18:00'")
    found = next_change(rule.build_policy(), now, in_berlin)
    assert found == Change(datetime(2026, 3, 30, 6, tzinfo=UTC), ScheduledLevel.HIGHEST)
    assert found.at.isoformat() == "2026-03-30T08:00:00+02:00"


def test_a_window_of_today_that_has_begun_is_next_in_a_week() -> None:
    now = datetime(2026, 3, 23, 8, 30, tzinfo=BERLIN)
    (rule,) = parse_policies("time-of-day quiet='mon 08:00-09:00' otherwise=unchanged")
    assert next_change(rule.build_policy(), now, in_berlin) is None
    (rule,) = parse_policies("time-of-day quiet='mon 08:00-08:15' otherwise=unchanged")
    found = next_change(rule.build_policy(), now, in_berlin)
    assert found == (now + WEEK - timedelta(minutes=30), "lowest")


@pytest.mark.parametrize(
    "policy",
    [
        TRAFFIC,
        FixedWorkload(workload=Workload.LOW),
        TimeOfDay(busy=whole_hours(range(24))),
    ],
)
def test_what_never_changes_has_no_next_change(policy: TimeOfDay) -> None:
    assert next_change(policy, datetime(2026, 3, 27, tzinfo=BERLIN), in_berlin) is None


_windows = st.lists(
    st.builds(
        Window,
        days=st.frozensets(st.integers(0, len(DAYS) - 1), min_size=1),
        begin_min=st.integers(0, 1439),
        length_min=st.integers(1, 1440),
    ),
    max_size=3,
).map(tuple)
_zones = st.sampled_from(
    ["Europe/Berlin", "America/St_Johns", "Australia/Lord_Howe", "Asia/Kathmandu"]
).map(ZoneInfo)


@settings(max_examples=examples(30), deadline=None)
@given(
    policy=st.builds(
        TimeOfDay,
        busy=_windows,
        quiet=_windows,
        traffic=_windows,
        otherwise=st.sampled_from(Otherwise),
        zone=_zones,
    ),
    begin=st.datetimes(
        datetime(2026, 1, 1),  # noqa: DTZ001 - the zone comes separately
        datetime(2026, 12, 31),  # noqa: DTZ001
        timezones=st.just(UTC),
    ),
)
def test_changes_are_those_that_asking_every_minute_would_find(
    policy: TimeOfDay, begin: datetime
) -> None:
    end = begin + timedelta(days=2)
    minute = begin.replace(second=0, microsecond=0)
    expected: list[tuple[datetime, object]] = []
    before: object = "nothing"
    while minute < end:
        level = policy.level_at(minute)
        if level != before and (level != "as-is" or not expected):
            expected.append((max(minute, begin), level))
            before = level
        minute += timedelta(minutes=1)
    found = list(find_changes(policy, begin, end))
    assert [it.at for it in found] == [at for at, _ in expected]


def test_an_outlook_is_kept_until_it_has_come_true_or_the_time_was_set() -> None:
    asked: list[datetime] = []

    def watched(moment: datetime) -> datetime:
        asked.append(moment)
        return in_berlin(moment)

    (rule,) = parse_policies("time-of-day quiet=22:00-06:00")
    outlook = Outlook(rule.build_policy())

    def next_at(hour: int, minute: int) -> str:
        now = datetime(2026, 3, 5, hour, minute, tzinfo=BERLIN)
        change = outlook.next_change(now, watched)
        assert change is not None
        return f"{change.at:%H:%M}"

    assert next_at(20, 30) == "22:00"
    asked.clear()
    assert next_at(20, 31) == next_at(21, 29) == "22:00"
    assert asked == []
    assert next_at(22, 0) == "06:00"
    # The time was set back.
    assert next_at(21, 0) == "22:00"
    # An hour later, the zone of the host is read again.
    asked.clear()
    assert next_at(21, 59) == "22:00"
    assert asked == []
    assert next_at(5, 0) == "06:00"
    assert next_at(6, 0) == "22:00"
    asked.clear()
    assert next_at(7, 0) == "22:00"
    assert asked != []
