# SPDX-License-Identifier: Apache-2.0
"""The decisions of each policy."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

import pytest

from orchestrator.limits import Window, window_of
from orchestrator.policy.kinds.branch_ratio import (
    FEWEST_BRANCHES_PER_S,
    WINDOW,
    BranchRatio,
)
from orchestrator.policy.kinds.packet_rate import PacketRate
from orchestrator.policy.kinds.time_of_day import Otherwise, TimeOfDay
from orchestrator.policy.kinds.utilisation import Utilisation
from orchestrator.policy.kinds.want import Level, resolve_khz
from orchestrator.policy.kinds.workload import FixedWorkload, Workload
from orchestrator.policy.timetable import parse_window, whole_hours
from orchestrator.sampling.branches import BranchCount
from orchestrator.values.frequencies import table_from
from tests.policy.test_contract import run
from tests.policy.vcpu_samples import NOON, STEPS, TRAFFIC, sample, view

if TYPE_CHECKING:
    from orchestrator.limits import Window
from orchestrator.policy.kinds.want import Want

MAX, MED, MIN = STEPS[0], 2_000_000, STEPS[-1]


def window(*steps: int) -> Window:
    return window_of(table_from(steps))


def test_f22_medium_is_the_step_nearest_to_the_middle_frequency() -> None:
    assert window(*STEPS).middle_khz == 2_000_000
    dense_at_the_top = (3_000_000, 2_900_000, 2_800_000, 2_700_000, 2_100_000, 800_000)
    assert dense_at_the_top[len(dense_at_the_top) // 2] == 2_700_000
    assert window(*dense_at_the_top).middle_khz == 2_100_000


def test_of_two_middles_the_higher_is_taken() -> None:
    assert window(2_000_000, 1_000_000).middle_khz == 2_000_000


@pytest.mark.parametrize(
    ("want", "khz"),
    [
        (Level.MAX, 3_001_000),
        (Level.MED, 2_000_000),
        (Level.MIN, 1_200_000),
        (Level.NO_VOTE, None),
        (Level.AS_IS, 2_400_000),
        (2_100_000, 2_400_000),
        (9_000_000, 3_001_000),
        (1, 1_200_000),
    ],
)
def test_a_want_becomes_a_step(want: Want, khz: int | None) -> None:
    assert resolve_khz(want, window(*STEPS), 2_400_000) == khz


def test_as_is_of_nothing_is_nothing() -> None:
    assert resolve_khz(Level.AS_IS, window(*STEPS), None) is None


# TRAFFIC, with the thresholds of DPDK's guest_cli


@pytest.mark.parametrize(
    ("pps", "khz"),
    [
        (0, MIN),
        (1_799_999, MIN),
        (1_800_000, MED),
        (1_999_999, MED),
        (2_000_000, MAX),
        (14_880_000, MAX),
        (None, None),
    ],
)
def test_dts_traffic_policy_max_med_min(pps: float | None, khz: int | None) -> None:
    assert run(TRAFFIC, [view(sample(0, pps), sample(5, pps))]) == [{0: khz, 5: khz}]


# PACKET-RATE: half of the capacity is the highest frequency


IN_PROPORTION = PacketRate(capacity_pps=6_002_000, target_load=0.5, reserve=0)


@pytest.mark.parametrize(
    ("pps", "khz"),
    [
        (0, MIN),
        (1_200_000, 1_200_000),
        (1_200_002, 2_000_000),
        (2_400_001, 3_000_000),
        (3_001_000, MAX),
        (14_880_000, MAX),
        (None, None),
    ],
)
def test_the_lowest_step_that_handles_a_rate_within_the_target_load(
    pps: float | None, khz: int | None
) -> None:
    seen = [view(sample(0, pps), sample(5, pps))]
    assert run(IN_PROPORTION, seen) == [{0: khz, 5: khz}]


@pytest.mark.parametrize(
    ("pps", "khz"),
    [
        # Four tenths of 3.001 GHz, and of the other six what half of the capacity is.
        (0, 2_000_000),
        (1_990_000, 2_400_000),
        (2_900_000, 3_000_000),
        (3_001_000, MAX),
    ],
)
def test_a_part_of_the_highest_frequency_is_kept_in_reserve(pps: int, khz: int) -> None:
    policy = replace(IN_PROPORTION, reserve=0.4)
    assert run(policy, [view(sample(0, pps))]) == [{0: khz}]


def test_a_higher_rate_counts_at_once_and_a_lower_one_when_it_lasts() -> None:
    rates = [0, 2_300_000, 0, 0, 0, 0]
    khz = [it[0] for it in run(IN_PROPORTION, [view(sample(0, it)) for it in rates])]
    assert khz == [MIN, 2_400_000, 2_400_000, 2_400_000, MIN, MIN]


def test_a_lost_sample_ends_what_was_known_of_rates() -> None:
    rates = [2_300_000, None, 0]
    khz = [it[0] for it in run(IN_PROPORTION, [view(sample(0, it)) for it in rates])]
    assert khz == [2_400_000, None, MIN]


# WORKLOAD


@pytest.mark.parametrize(
    ("workload", "khz"),
    [(Workload.HIGH, MAX), (Workload.MEDIUM, MED), (Workload.LOW, MIN)],
)
def test_workload_is_a_level(workload: Workload, khz: int) -> None:
    assert run(FixedWorkload(workload=workload), [view()] * 2) == [{0: khz}] * 2


# TIME


def at(hour: int, minute: int = 0) -> datetime:
    return NOON.replace(hour=hour, minute=minute)


HOURS = TimeOfDay(
    busy=whole_hours([3, 4, 5]),
    quiet=whole_hours([11, 12, 13]),
    traffic=whole_hours([8, 10]),
    avg_pps=1_800_000,
    max_pps=2_000_000,
)


@pytest.mark.parametrize(
    ("hour", "khz"), [(3, MAX), (5, MAX), (11, MIN), (13, MIN), (8, MED), (10, MED)]
)
def test_dts_time_policy_busy_quiet_and_traffic_hours(hour: int, khz: int) -> None:
    assert run(HOURS, [view(sample(value=1_900_000), now=at(hour, 59))]) == [{0: khz}]


def test_f17_hour_zero_is_in_no_list_unless_it_is_named() -> None:
    assert run(HOURS, [view(sample(value=9e9), now=at(0))]) == [{0: None}]
    assert run(TimeOfDay(quiet=whole_hours([0])), [view(now=at(0))]) == [{0: MIN}]


@pytest.mark.parametrize(
    ("otherwise", "after_busy", "after_quiet"),
    [
        (Otherwise.NONE, None, None),
        (Otherwise.BUSY, MAX, MAX),
        (Otherwise.MEDIUM, MED, MED),
        (Otherwise.QUIET, MIN, MIN),
        (Otherwise.UNCHANGED, MAX, MIN),
    ],
)
def test_an_hour_in_no_list_is_as_the_policy_says_otherwise(
    otherwise: Otherwise, after_busy: int | None, after_quiet: int | None
) -> None:
    seen = [view(now=at(5)), view(now=at(6)), view(now=at(13)), view(now=at(14))]
    assert run(replace(HOURS, otherwise=otherwise), seen) == [
        {0: MAX},
        {0: after_busy},
        {0: MIN},
        {0: after_quiet},
    ]


def test_a_quiet_window_ends_without_a_vote_by_default() -> None:
    night = TimeOfDay(quiet=(parse_window("05:25-05:28"),))
    assert run(night, [view(now=at(5, 27)), view(now=at(5, 28))]) == [
        {0: MIN},
        {0: None},
    ]


def test_f17_a_zone_of_its_own_follows_summer_time() -> None:
    policy = TimeOfDay(
        busy=(parse_window("mon-fri 08:30-18:00"),), zone=ZoneInfo("Europe/Berlin")
    )
    winter = datetime(2026, 3, 27, 7, 30, tzinfo=UTC)
    summer = datetime(2026, 3, 30, 6, 30, tzinfo=UTC)
    for begin in (winter, summer):
        before = begin.replace(minute=29)
        assert run(policy, [view(now=before), view(now=begin)]) == [{0: None}, {0: MAX}]


@pytest.mark.parametrize(
    ("window", "night", "changes_utc"),
    [
        # 02:00 is followed by 03:00 (01:00 UTC), so that what lies between is not.
        ("02:30-03:30", "2026-03-29", ["01:00", "01:30"]),
        ("02:00-03:00", "2026-03-29", []),
        ("sat 22:00-06:00", "2026-03-29", ["00:00", "04:00"]),
        # From 03:00 back to 02:00 (01:00 UTC): what lies between comes twice.
        ("02:00-03:00", "2026-10-25", ["00:00", "02:00"]),
        ("02:30-03:30", "2026-10-25", ["00:30", "01:00", "01:30", "02:30"]),
        ("sat 22:00-06:00", "2026-10-25", ["00:00", "05:00"]),
        ("sun", "2026-10-25", ["00:00"]),
    ],
)
def test_f17_in_the_night_when_clocks_change_the_clock_on_the_wall_decides(
    window: str, night: str, changes_utc: list[str]
) -> None:
    policy = TimeOfDay(
        busy=(parse_window(window),),
        quiet=whole_hours(range(24)),
        zone=ZoneInfo("Europe/Berlin"),
    )
    begin = datetime.fromisoformat(f"{night}T00:00+00:00")
    moments = [begin + timedelta(minutes=10 * step) for step in range(36)]
    wants = [want[0] for want in run(policy, [view(now=m) for m in moments])]
    changes = [
        f"{moment:%H:%M}"
        for before, want, moment in zip([MIN, *wants], wants, moments, strict=False)
        if want != before
    ]
    assert changes == changes_utc


def test_busy_takes_precedence_over_quiet_and_quiet_over_traffic() -> None:
    noon = whole_hours([12])
    low = view(sample(value=0))
    busy = TimeOfDay(busy=noon, quiet=noon, traffic=noon, avg_pps=1, max_pps=2)
    assert run(busy, [low]) == [{0: MAX}]
    high = view(sample(value=2e6))
    assert run(replace(busy, busy=()), [high]) == [{0: MIN}]
    assert run(replace(busy, busy=(), quiet=()), [high]) == [{0: MAX}]


def test_time_samples_traffic_only_if_some_time_depends_on_it() -> None:
    assert HOURS.needs_sample
    assert not TimeOfDay(busy=whole_hours([1]), avg_pps=1, max_pps=2).needs_sample
    assert not TimeOfDay(traffic=whole_hours([1])).needs_sample


# BRANCH_RATIO

BRANCHES = 10 * FEWEST_BRANCHES_PER_S // 100
"""In 10 ms, ten times the least that is judged by its ratio."""
POLLING = BranchCount(BRANCHES, 0, 0.01)
WORKING = BranchCount(BRANCHES, BRANCHES // 100, 0.01)
SLEEPING = BranchCount(1000, 900, 0.01)


def votes(policy: BranchRatio, counts: list[BranchCount | None]) -> list[int | None]:
    seen = [view(sample(value=count)) for count in counts]
    return [vote[0] for vote in run(policy, seen)]


def test_a_whole_window_of_low_samples_slows_and_one_high_sample_speeds_up() -> None:
    counts = [POLLING] * (WINDOW + 1) + [WORKING] + [POLLING] * WINDOW
    expected = [MAX] * (WINDOW - 1) + [MIN] * 2 + [MAX] + [MAX] * (WINDOW - 1) + [MIN]
    assert votes(BranchRatio(), [*counts]) == expected


def test_no_misses_at_all_are_low_too() -> None:
    assert votes(BranchRatio(window=1), [POLLING]) == [MIN]


def test_too_few_branches_are_low_whatever_their_ratio() -> None:
    assert votes(BranchRatio(window=1), [WORKING, SLEEPING]) == [MAX, MIN]


def test_dts_branch_ratio_threshold_is_a_percentage() -> None:
    at_threshold = BranchCount(BRANCHES, 3 * BRANCHES // 1000, 0.01)
    above = at_threshold._replace(misses=at_threshold.misses + 1)
    policy = BranchRatio(window=1, threshold_percent=0.3)
    assert votes(policy, [at_threshold, above]) == [MIN, MAX]


def test_a_missing_sample_restarts_the_window() -> None:
    counts = [POLLING, POLLING, None, POLLING, POLLING, POLLING]
    expected = [MAX, MAX, None, MAX, MAX, MIN]
    assert votes(BranchRatio(window=3), counts) == expected


def test_each_vcpu_has_a_window_of_its_own() -> None:
    both = view(sample(0, POLLING), sample(1, WORKING))
    assert run(BranchRatio(window=2), [both] * 2)[-1] == {0: MIN, 1: MAX}


# UTILISATION


def follow(policy: Utilisation, loads: list[float | None]) -> list[int | None]:
    return [vote[0] for vote in run(policy, [view(sample(value=x)) for x in loads])]


def test_utilisation_goes_down_step_by_step_and_up_at_once() -> None:
    policy = Utilisation(down_after_samples=2)
    loads = [0.1, 0.1, 0.1, 0.1, 0.1, 0.1, 0.1, 0.1, 0.1, 0.1, 0.9]
    assert follow(policy, [*loads]) == [
        STEPS[0],
        *(STEPS[1], STEPS[1], STEPS[2], STEPS[2], STEPS[3], STEPS[3]),
        *(STEPS[4], STEPS[4], STEPS[4], STEPS[0]),
    ]


def test_utilisation_between_its_thresholds_holds_and_restarts_the_count() -> None:
    policy = Utilisation(down_after_samples=2)
    loads = [0.1, 0.1, 0.1, 0.6, 0.1, 0.1]
    assert follow(policy, [*loads]) == [
        *(STEPS[0], STEPS[1], STEPS[1], STEPS[1], STEPS[1], STEPS[2])
    ]


def test_utilisation_that_becomes_unknown_is_no_vote_and_restarts() -> None:
    policy = Utilisation(down_after_samples=1)
    assert follow(policy, [0.0, 0.0, None, 0.6]) == [STEPS[1], STEPS[2], None, STEPS[0]]


def test_utilisation_stays_within_steps_that_changed_meanwhile() -> None:
    slow, fast = (2_000_000, 1_000_000), (4_000_000, 3_500_000, 3_000_000)
    seen = [view(sample(value=0.0, steps=slow)), view(sample(value=0.6, steps=fast))]
    assert run(Utilisation(down_after_samples=1), seen) == [
        {0: 1_000_000},
        {0: 3_000_000},
    ]
