# SPDX-License-Identifier: Apache-2.0
"""Simulates the day for each contender; all of them see the same packets."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

from bench.figures import SavingRow
from bench.saving.governors import VCPUS
from bench.saving.host import CORE_W, OTHERS_W, UNCORE_W
from bench.saving.queues import Delays, Queue
from bench.saving.traffic import (
    QUEUE_SHARES,
    TAKEOVER_FACTOR,
    WORKLOADS,
    Sample,
    Source,
    sample_day,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bench.saving.governors import Contender
    from bench.saving.traffic import Segment

SEED = 20_260_101
_SECONDS_PER_HOUR = 3_600
_HOURS = 24


class _Run:
    """One contender's day.

    Synchronization: one thread.
    """

    def __init__(self, contender: Contender) -> None:
        self._contender = contender
        self._delays = Delays()
        self._queues = [[Queue(self._delays) for _ in range(VCPUS)] for _ in WORKLOADS]
        contender.watch(self._queues)
        self._monotonic_s = 0.0
        self._weighted_s = 0.0
        self._joules = 0.0
        self._changes = 0
        self.hourly_w = [0.0] * _HOURS
        self._hourly_s = [0.0] * _HOURS

    def simulate(self, sample: Sample, arrivals: Sequence[list[Segment]]) -> None:
        """Simulate a part of the day.

        Args:
            sample: which one.
            arrivals: of the queues of all domains.
        """
        flat = [queue for queues in self._queues for queue in queues]
        for queue, segments in zip(flat, arrivals, strict=True):
            queue.feed(segments)
        contender = self._contender
        for _ in range(round(sample.seconds / contender.period_s)):
            self._advance(sample, contender.period_s)
            self._monotonic_s += contender.period_s
            before = [list(row) for row in contender.khz]
            contender.decide(sample.hour, self._monotonic_s)
            self._changes += sum(
                old != new
                for olds, news in zip(before, contender.khz, strict=True)
                for old, new in zip(olds, news, strict=True)
            )

    def _advance(self, sample: Sample, seconds: float) -> None:
        watts = UNCORE_W + OTHERS_W
        for workload, queues, row in zip(
            WORKLOADS, self._queues, self._contender.khz, strict=True
        ):
            for queue, khz in zip(queues, row, strict=True):
                watts += CORE_W[khz]
                queue.advance(seconds, workload.capacity_pps(khz), sample.weight)
        weighted_s = seconds * sample.weight
        self._weighted_s += weighted_s
        self._joules += watts * weighted_s
        hour = int(sample.hour)
        self._hourly_s[hour] += weighted_s
        self.hourly_w[hour] += watts * weighted_s

    def row(self) -> SavingRow:
        """Return the figures of the day."""
        flat = [queue for queues in self._queues for queue in queues]
        arrived = sum(queue.weighted_arrivals for queue in flat)
        return SavingRow(
            name=self._contender.name,
            mean_w=self._joules / self._weighted_s,
            p50_us=self._delays.quantile_s(0.5) * 1e6,
            p999_us=self._delays.quantile_s(0.999) * 1e6,
            lost=sum(queue.weighted_losses for queue in flat) / arrived,
            changes_per_s=self._changes / self._monotonic_s / len(flat),
            hourly_w=tuple(
                watts / seconds
                for watts, seconds in zip(self.hourly_w, self._hourly_s, strict=True)
            ),
        )


def measure_saving(
    contenders: Sequence[Contender],
    *,
    samples: int,
    sample_s: float,
    has_own_bursts: bool = False,
) -> tuple[SavingRow, ...]:
    """Simulate a day for each contender.

    Args:
        contenders: the first one is what the others are compared with.
        samples: parts of the day, at least one an hour.
        sample_s: how much of each is simulated.
        has_own_bursts: whether the rate of bursts is their own, at all hours.
    """
    runs = [_Run(contender) for contender in contenders]
    sources = [
        Source(
            share * workload.peak_load * workload.capacity_pps(max(CORE_W)),
            random.Random(SEED + 100 * number + queue),
            workload.capacity_pps(max(CORE_W)) if has_own_bursts else None,
        )
        for number, workload in enumerate(WORKLOADS)
        for queue, share in enumerate(QUEUE_SHARES)
    ]
    for sample in sample_day(samples, sample_s):
        arrivals = [
            source.segments(_share(sample, at // VCPUS), sample.seconds)
            for at, source in enumerate(sources)
        ]
        for run in runs:
            run.simulate(sample, arrivals)
    return tuple(run.row() for run in runs)


def _share(sample: Sample, number: int) -> float:
    share = WORKLOADS[number].shape.share(sample.hour)
    return share * TAKEOVER_FACTOR if sample.takeover == number else share
