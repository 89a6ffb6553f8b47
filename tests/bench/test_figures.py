# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import dataclasses
import io

import pytest
from rich.console import Console

from bench.aims import judge, ratios
from bench.figures import (
    Arrival,
    Comparison,
    Discovery,
    Exchange,
    GuestWrites,
    Idle,
    Neighbour,
    NeighbourRun,
    Results,
    RoundTrips,
    Scale,
    Scrape,
    Spread,
    Stream,
    Verification,
    Watching,
    spread,
)
from bench.report import render
from bench.servers import BATCHED, UNBATCHED, VMPOWERD


def make_exchange(server: str, *p50s_us: float, per_s: float = 1000.0) -> Exchange:
    return Exchange(
        server=server,
        round_trips=tuple(
            RoundTrips(
                p50_us=p50_us,
                p99_us=2 * p50_us,
                p999_us=3 * p50_us,
                requests_per_s=per_s,
                cpu_us_per_request=5.0,
                writes_per_request=None,
                lost=0,
            )
            for p50_us in p50s_us
        ),
        streams=tuple(
            Stream(
                requests_per_s=per_s,
                writes_per_s=None,
                cpu_us_per_request=1.0,
                lost=2,
            )
            for _ in p50s_us
        ),
    )


COMPARISON = Comparison(
    channels=4,
    entry="discovered",
    exchanges=(
        make_exchange(VMPOWERD, 10.0, 200.0, 30.0),
        make_exchange(UNBATCHED, 10.0, 100.0, 20.0, per_s=2000.0),
        make_exchange(BATCHED, 10.0, 10.0, 10.0),
    ),
)


def make_neighbour(kind: str, *p99_us: float) -> Neighbour:
    runs = tuple(
        NeighbourRun(p50_us=50.0, p99_us=value, flood_mb_per_s=7.0, lost=0)
        for value in p99_us
    )
    return Neighbour(kind=kind, runs=runs)


def make_scale(domains: int, restart_ms: float) -> Scale:
    return Scale(
        domains=domains,
        channels=4 * domains,
        connected_ms=1.4 * domains,
        connect_cpu_s=0.0017 * domains,
        restart_cpu_ms=restart_ms,
        storm_cpu_s=0.0024 * domains,
    )


def make_guest_writes(stopped: str, *wall_s: float) -> GuestWrites:
    return GuestWrites(
        stopped=stopped, writes=6_000, wall_s=wall_s, cpu_s=tuple(wall_s)
    )


RESULTS = Results(
    circumstances={"CPUs": "2"},
    comparisons=(COMPARISON,),
    idle=Idle(
        channels=100,
        seconds=30.0,
        main_cpu_pct=0.06,
        monitor_cpu_pct=0.01,
        main_pss_bytes=80_000_000,
        monitor_pss_bytes=8_000_000,
    ),
    verification=Verification(
        groups=64, interval_s=2.0, drift_us=200.0, limits_us=1_000.0, reads_us=80.0
    ),
    guest_writes=(
        make_guest_writes("nothing", 2.0, 2.5),
        make_guest_writes("monitor", 2.2, 9.0),
        make_guest_writes("main", 1.8, 1.9),
    ),
    discoveries=(Discovery(domains=100, connected_ms=600.0, obeyed_ms=650.0),),
    scales=(make_scale(100, 4.0), make_scale(1_000, 5.0)),
    arrivals=(
        Arrival(connected_ms=1.0, obeyed_ms=2.0),
        Arrival(connected_ms=20.0, obeyed_ms=60.0),
    ),
    neighbours=(
        make_neighbour("quiet", 100.0, 200.0),
        make_neighbour("garbage", 110.0, 500.0),
    ),
    starts_ms=(100.0, 450.0, 200.0),
    watching=Watching(vcpus=1_024, seconds=60.0, top_cpu_s=1.25, daemon_cpu_s=0.875),
    scrape=Scrape(
        vcpus=1_024,
        series=7_000,
        size_bytes=600_000,
        took_ms=(20.0, 25.0, 90.0),
        cpu_ms=(15.0, 18.0, 20.0),
    ),
)


def test_a_spread_is_the_median_and_the_quartiles() -> None:
    assert spread([5, 1, 2, 3, 4]) == Spread(median=3, low=2, high=4)


def test_a_single_measurement_has_no_spread() -> None:
    assert spread([7.0]) == Spread(median=7.0, low=7.0, high=7.0)


def test_without_measurements_a_spread_is_an_error() -> None:
    with pytest.raises(ValueError, match="nothing"):
        spread([])


def test_ratios_compare_the_runs_of_one_round() -> None:
    assert ratios(COMPARISON, "p50_us") == (1.0, 2.0, 1.5)


def test_a_figure_that_is_not_readable_has_no_ratio() -> None:
    with pytest.raises(ValueError, match="writes_per_s"):
        ratios(COMPARISON, "stream.writes_per_s")


def test_each_aim_is_judged() -> None:
    verdicts = {verdict.what.split(",")[0]: verdict for verdict in judge(RESULTS)}
    assert {what: verdict.is_met for what, verdict in verdicts.items()} == {
        "p50 at K = 4": False,
        "p99 at K = 4": True,
        "pipelined requests/s at K = 4": False,
        "idle CPU of both processes": True,
        "memory (PSS) of both processes": False,
        "CPU of verifying 64 clock groups": True,
        "6000 requests of a guest": True,
        "a channel open after its event": False,
        "100 running domains open after exec": True,
        "1000 domains": True,
        "CPU of a restart among 1000 domains / among 100": False,
        "p99 beside a bad neighbour (garbage) / a quiet one": False,
        "start of the command": True,
        "CPU of 'vmpower top' in a minute": False,
        "a scrape of 1024 vCPUs": True,
    }
    verifying = verdicts["CPU of verifying 64 clock groups"]
    assert verifying.measured == pytest.approx(0.06)
    assert verdicts["memory (PSS) of both processes"].distance_pct == pytest.approx(10)


def test_scale_is_judged_at_a_thousand_domains() -> None:
    verdicts = [v for v in judge(RESULTS) if v.what.startswith("1000 domains")]
    assert [verdict.is_met for verdict in verdicts] == [True, False, True]
    few = dataclasses.replace(RESULTS, scales=RESULTS.scales[:1])
    assert not any("domains, 400" in verdict.what for verdict in judge(few))


def test_there_is_no_aim_for_latency_beyond_64_channels() -> None:
    many = dataclasses.replace(COMPARISON, channels=512)
    verdicts = judge(Results(circumstances={}, comparisons=(many,)))
    assert [verdict.what.split(" at")[0] for verdict in verdicts] == [
        "pipelined requests/s"
    ]


def test_the_report_names_servers_figures_and_missed_aims() -> None:
    console = Console(file=io.StringIO(), width=120)
    with console.capture() as capture:
        for part in render(RESULTS):
            console.print(part)
    text = capture.get()
    for words in ("4 channels, discovered", VMPOWERD, UNBATCHED, BATCHED):
        assert words in text
    assert "30.0 µs" in text or "30 µs" in text
    assert "missed by 50 %" in text
    assert "650 ms" in text
    assert "good channels beside a bad one" in text
    assert "1.80x" in text  # the median of 1.1 and 2.5
    assert "0.88 s" in text
