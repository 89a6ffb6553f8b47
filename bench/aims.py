# SPDX-License-Identifier: Apache-2.0
"""The aims, and whether they were met."""

from __future__ import annotations

import itertools
import statistics
from dataclasses import dataclass
from typing import TYPE_CHECKING

from bench.servers import UNBATCHED, VMPOWERD

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from bench.figures import (
        Comparison,
        GuestWrites,
        Idle,
        Neighbour,
        Results,
        SavingRow,
        Scale,
        Scrape,
        Verification,
    )

P50_RATIO = 1.3
P99_RATIO = 2.0
LATENCY_CHANNELS = 64
"""There are aims for latency up to this number of channels."""
STREAM_RATIO = 1.0
IDLE_CPU_PCT = 0.1
VERIFY_CPU_PCT = 0.1
PSS_MB = 80.0
NEIGHBOUR_P99_RATIO = 1.3
OPEN_MS = 50.0
ALL_OPEN_MS = 1_000.0
START_MS = 300.0
WATCH_CPU_S = 1.0
SCRAPE_MS = 30.0
SCALE_DOMAINS = 1_000
"""There are aims for the start and for a storm with this number of domains."""
SCALE_CONNECTED_MS = 1_500.0
SCALE_CONNECT_CPU_S = 1.6
SCALE_STORM_CPU_S = 2.5
RESTART_RATIO = 1.2
GUEST_WRITES_RATIO = 1.2
SAVING_PCT = 25.0
SAVING_LOST = 1e-6
SAVING_DELAY_RATIO = 2.0
OWN = "vmpower: "
"""Rows of the saving benchmark whose names begin so have aims."""
THREE_LEVELS = "vmpower: traffic"
"""It is DPDK's policy, and is there for comparison."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """One aim and the measured figure."""

    what: str
    limit: float
    measured: float
    unit: str
    is_upper: bool = True
    """Whether the limit is a maximum, not a minimum."""

    @property
    def is_met(self) -> bool:
        """Whether the aim was met."""
        if self.is_upper:
            return self.measured <= self.limit
        return self.measured >= self.limit

    @property
    def distance_pct(self) -> float:
        """Difference of the figure and the limit, in percent of the limit."""
        return 100 * abs(self.measured - self.limit) / self.limit


def judge(results: Results) -> tuple[Verdict, ...]:
    """Compare all measurements with their aims."""
    exchanges = (_judge_exchange(comparison) for comparison in results.comparisons)
    return (
        *itertools.chain.from_iterable(exchanges),
        *(_judge_idle(results.idle) if results.idle else ()),
        *(_judge_verification(results.verification) if results.verification else ()),
        *(_judge_guest_writes(results.guest_writes) if results.guest_writes else ()),
        *_judge_openings(results),
        *(_judge_scales(results.scales) if results.scales else ()),
        *_judge_neighbours(results),
        *_judge_command(results),
        *_judge_saving(results.saving),
        *(_judge_scrape(results.scrape) if results.scrape else ()),
    )


def ratios(comparison: Comparison, figure: str) -> tuple[float, ...]:
    """Divide vmpowerd's figure by the unbatched loop's, round by round.

    Turns that are close in time are compared, so that the influence of other processes
    cancels out.

    Args:
        comparison: contains the runs.
        figure: a field of `RoundTrips`, or `stream.` and a field of `Stream`.

    Raises:
        ValueError: the figure could not be measured here.
    """
    series = []
    for server in (VMPOWERD, UNBATCHED):
        exchange = comparison.of(server)
        kind, _, field = figure.rpartition(".")
        runs = exchange.streams if kind == "stream" else exchange.round_trips
        series.append([getattr(run, field) for run in runs])
    if None in series[0] or not all(series[1]):
        raise ValueError(f"{figure} could not be measured")
    return tuple(ours / theirs for ours, theirs in zip(*series, strict=True))


def _judge_exchange(comparison: Comparison) -> Iterator[Verdict]:
    where = f"at K = {comparison.channels}{comparison.variant}, relative to C unbatched"
    if comparison.channels <= LATENCY_CHANNELS:
        for figure, limit in (("p50_us", P50_RATIO), ("p99_us", P99_RATIO)):
            yield Verdict(
                what=f"{figure.removesuffix('_us')} {where}",
                limit=limit,
                measured=statistics.median(ratios(comparison, figure)),
                unit="x",
            )
    yield Verdict(
        what=f"pipelined requests/s {where}",
        limit=STREAM_RATIO,
        measured=statistics.median(ratios(comparison, "stream.requests_per_s")),
        unit="x",
        is_upper=False,
    )


def _judge_idle(idle: Idle) -> Iterator[Verdict]:
    yield Verdict(
        what="idle CPU of both processes",
        limit=IDLE_CPU_PCT,
        measured=idle.main_cpu_pct + idle.monitor_cpu_pct,
        unit=" %",
    )
    if idle.main_pss_bytes and idle.monitor_pss_bytes:
        yield Verdict(
            what="memory (PSS) of both processes",
            limit=PSS_MB,
            measured=(idle.main_pss_bytes + idle.monitor_pss_bytes) / 1e6,
            unit=" MB",
        )


def _judge_guest_writes(guest_writes: Sequence[GuestWrites]) -> Iterator[Verdict]:
    live, *others = guest_writes
    slowest = max(others, key=lambda one: one.fastest_s)
    yield Verdict(
        what=f"{live.writes} requests of a guest, stopped: {slowest.stopped}",
        limit=GUEST_WRITES_RATIO,
        measured=slowest.fastest_s / live.fastest_s,
        unit="x",
    )


def _judge_verification(verification: Verification) -> Iterator[Verdict]:
    yield Verdict(
        what=f"CPU of verifying {verification.groups} clock groups",
        limit=VERIFY_CPU_PCT,
        measured=verification.cpu_pct,
        unit=" %",
    )


def _judge_openings(results: Results) -> Iterator[Verdict]:
    if results.arrivals:
        yield Verdict(
            what="a channel open after its event, the slowest",
            limit=OPEN_MS,
            measured=max(arrival.obeyed_ms for arrival in results.arrivals),
            unit=" ms",
        )
    if results.discoveries:
        yield Verdict(
            what=f"{results.discoveries[0].domains} running domains open after exec",
            limit=ALL_OPEN_MS,
            measured=statistics.median(d.obeyed_ms for d in results.discoveries),
            unit=" ms",
        )


def _judge_scales(scales: Sequence[Scale]) -> Iterator[Verdict]:
    few, many = scales[0], scales[-1]
    if many.domains == SCALE_DOMAINS:
        among = f"{many.domains} domains, {many.channels} channels"
        for what, limit, measured, unit in (
            ("connected after", SCALE_CONNECTED_MS, many.connected_ms, " ms"),
            ("CPU until connected", SCALE_CONNECT_CPU_S, many.connect_cpu_s, " s"),
            ("CPU of a storm", SCALE_STORM_CPU_S, many.storm_cpu_s, " s"),
        ):
            yield Verdict(
                what=f"{among}: {what}", limit=limit, measured=measured, unit=unit
            )
    yield Verdict(
        what=f"CPU of a restart among {many.domains} domains / among {few.domains}",
        limit=RESTART_RATIO,
        measured=many.restart_cpu_ms / few.restart_cpu_ms,
        unit="x",
    )


def _judge_command(results: Results) -> Iterator[Verdict]:
    if results.starts_ms:
        yield Verdict(
            what="start of the command, from exec to exit",
            limit=START_MS,
            measured=statistics.median(results.starts_ms),
            unit=" ms",
        )
    if watching := results.watching:
        yield Verdict(
            what=f"CPU of 'vmpower top' in a minute, {watching.vcpus} vCPUs",
            limit=WATCH_CPU_S,
            measured=watching.top_cpu_s,
            unit=" s",
        )


def _judge_saving(rows: Sequence[SavingRow]) -> Iterator[Verdict]:
    for row in rows:
        if not row.name.startswith(OWN) or row.name == THREE_LEVELS:
            continue
        yield Verdict(
            what=f"package energy saved, modelled, {row.name}",
            limit=SAVING_PCT,
            measured=row.saved_pct(rows[0]),
            unit=" %",
            is_upper=False,
        )
        yield Verdict(
            what=f"p99.9 delay / always highest, {row.name}",
            limit=SAVING_DELAY_RATIO,
            measured=row.p999_us / rows[0].p999_us,
            unit="x",
        )
        yield Verdict(
            what=f"packets lost per million, {row.name}",
            limit=SAVING_LOST * 1e6,
            measured=row.lost * 1e6,
            unit="",
        )


def neighbour_ratios(results: Results, neighbour: Neighbour) -> tuple[float, ...]:
    """Divide the p99 beside a bad neighbor by that beside a quiet one, in rounds."""
    quiet = results.neighbours[0].runs
    return tuple(
        run.p99_us / calm.p99_us
        for run, calm in zip(neighbour.runs, quiet, strict=True)
    )


def _judge_neighbours(results: Results) -> Iterator[Verdict]:
    for neighbour in results.neighbours[1:]:
        yield Verdict(
            what=f"p99 beside a bad neighbour ({neighbour.kind}) / a quiet one",
            limit=NEIGHBOUR_P99_RATIO,
            measured=statistics.median(neighbour_ratios(results, neighbour)),
            unit="x",
        )


def _judge_scrape(scrape: Scrape) -> Iterator[Verdict]:
    yield Verdict(
        what=f"a scrape of {scrape.vcpus} vCPUs, {scrape.series} series",
        limit=SCRAPE_MS,
        measured=statistics.median(scrape.took_ms),
        unit=" ms",
    )
