# SPDX-License-Identifier: Apache-2.0
"""The simulated day: queues by their formulas, and what each contender does."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING
from xml.etree import ElementTree

import pytest

from bench.figures import SavingRow
from bench.saving.contest import measure_day
from bench.saving.day import measure_saving
from bench.saving.governors import AlwaysHighest, DpdkTraffic, Ondemand, Schedutil
from bench.saving.host import CORE_W, OTHERS_W, STEPS, UNCORE_W
from bench.saving.picture import write_picture
from bench.saving.queues import RING, Delays, Queue
from bench.saving.traffic import (
    EUROPE,
    SECONDS_PER_DAY,
    SLOT_S,
    WORKLOADS,
    Source,
    sample_day,
)
from bench.saving.vmpower import GuestAuto, packet_rate_policy

if TYPE_CHECKING:
    from pathlib import Path

MPPS = 1e6


def queue_of(*segments: tuple[float, float]) -> tuple[Queue, Delays]:
    delays = Delays()
    queue = Queue(delays)
    queue.feed(segments)
    return queue, delays


def test_an_empty_queue_delays_as_md1_does() -> None:
    queue, delays = queue_of((1.0, 0.5 * MPPS))
    queue.advance(1.0, MPPS, 1.0)
    assert queue.busy_s == pytest.approx(0.5)
    assert queue.weighted_losses == 0
    # Half of the packets wait for no other; the others for 1 us on average.
    assert delays.quantile_s(0.25) == pytest.approx(1e-6, rel=0.1)
    assert 2e-6 < delays.quantile_s(0.9) < 3.5e-6


def test_a_burst_above_the_capacity_waits_and_what_does_not_fit_is_lost() -> None:
    queue, delays = queue_of((1e-3, 2 * MPPS), (10e-3, 0.0))
    queue.advance(11e-3, MPPS, 10.0)
    # The queue is 1000 packets long at the end of the burst: the last one waits 1 ms.
    assert queue.weighted_losses == 0
    assert delays.quantile_s(0.5) == pytest.approx(0.5e-3, rel=0.1)
    assert queue.busy_s == pytest.approx(2e-3)
    queue, _ = queue_of((10e-3, 2 * MPPS))
    queue.advance(10e-3, MPPS, 10.0)
    assert queue.weighted_losses == pytest.approx(10 * (10_000 - RING))


def test_the_size_of_a_step_in_time_changes_nothing() -> None:
    segments = Source(0.9 * MPPS, random.Random(1)).segments(1.0, 1.0)
    results = []
    for step_s in (0.1, 0.001):
        queue, delays = queue_of(*segments)
        for _ in range(round(1.0 / step_s)):
            queue.advance(step_s, MPPS, 1.0)
        results.append((queue.arrived, queue.busy_s, delays.quantile_s(0.99)))
    # The points of a line that is cut are closer to each other.
    assert results[0] == pytest.approx(results[1], rel=0.02)


def test_the_samples_of_a_day_count_for_all_of_it() -> None:
    samples = list(sample_day(96, 0.5))
    counted_s = sum(it.seconds * it.weight for it in samples)
    assert 0 <= counted_s - SECONDS_PER_DAY < 0.04 * SECONDS_PER_DAY
    assert {it.takeover for it in samples} == {None, *range(len(WORKLOADS))}
    assert EUROPE.share(21) == 1.0
    assert EUROPE.share(5.5) == pytest.approx(0.37)


def test_a_source_has_its_mean_rate_and_bursts() -> None:
    segments = Source(MPPS, random.Random(1)).segments(0.5, 40.0)
    packets = sum(seconds * rate for seconds, rate in segments)
    assert sum(seconds for seconds, _ in segments) == pytest.approx(40.0)
    assert packets / 40 == pytest.approx(0.5 * MPPS, rel=0.1)
    bursts = sorted(seconds for seconds, _ in segments if seconds < SLOT_S)[::2]
    assert len(bursts) > 1_000


def test_bursts_of_their_own_rate_are_as_fast_at_night_but_fewer() -> None:
    source = Source(0.4 * MPPS, random.Random(1), own_burst_pps=MPPS)
    night, day = source.segments(0.1, 40.0), source.segments(1.0, 40.0)
    bursts = [
        [rate for _, rate in found if rate > 0.75 * MPPS] for found in (night, day)
    ]
    assert 5 * len(bursts[0]) < len(bursts[1])
    assert max(bursts[0]) > 1.5 * MPPS


def test_governors_that_see_run_time_run_polling_vcpus_at_the_highest_step() -> None:
    for contender in (AlwaysHighest(), Schedutil(), Ondemand()):
        contender.decide(0.0, 0.1)
        assert {khz for row in contender.khz for khz in row} == {STEPS.highest_khz}


def test_each_contender_sets_lower_frequencies_in_the_night() -> None:
    rows = measure_saving(
        [AlwaysHighest(), DpdkTraffic(), packet_rate_policy(), GuestAuto()],
        samples=24,
        sample_s=0.2,
    )
    highest_w = UNCORE_W + OTHERS_W + 16 * CORE_W[STEPS.highest_khz]
    assert rows[0].mean_w == pytest.approx(highest_w)
    assert rows[0].changes_per_s == 0
    for row in rows[1:]:
        assert row.saved_pct(rows[0]) > 10
        assert row.hourly_w[5] < row.hourly_w[20] < highest_w
        assert row.p999_us > rows[0].p999_us
        assert row.changes_per_s > 0


def test_a_day_is_drawn(tmp_path: Path) -> None:
    rows = measure_day(24, 0.1)
    assert len({row.name for row in rows}) == len(rows) == 9
    assert all(isinstance(row, SavingRow) for row in rows)
    write_picture(tmp_path / "day.svg", rows)
    texts = {
        it.text
        for it in ElementTree.parse(tmp_path / "day.svg").iter(
            "{http://www.w3.org/2000/svg}text"
        )
    }
    assert {"vmpower: packet-rate", "DPDK's host, TRAFFIC"} <= texts
