# SPDX-License-Identifier: Apache-2.0
"""`python -m bench`: measures, prints tables, compares the figures with the aims."""

from __future__ import annotations

import argparse
import json
import os
import platform
import resource
import sys
import time
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console

from bench import bytecode
from bench.aims import judge
from bench.arrival import measure_arrivals
from bench.command import time_starts, watch
from bench.comparison import compare
from bench.discovery import discover, measure_idle
from bench.errors import BenchError
from bench.figures import Results
from bench.guest_writes import measure_guest_writes
from bench.neighbours import measure_neighbours
from bench.p_states import OBEYED_CHANNELS, measure_obeyed
from bench.process_stats import read_busy_s, read_own_s
from bench.programs import compiler_version
from bench.report import render
from bench.saving.contest import measure_day, measure_own_bursts
from bench.saving.picture import write_picture
from bench.scale import measure_scale
from bench.scrape import measure_scrapes
from bench.verification import measure_verification
from orchestrator.power.simulated_drivers import DEFAULT_DRIVER

if TYPE_CHECKING:
    from collections.abc import Sequence

COMPARISONS = {
    "k1": (1, DEFAULT_DRIVER),
    "k1-limits": (1, "intel_pstate"),
    "k4": (4, DEFAULT_DRIVER),
    "k64": (64, DEFAULT_DRIVER),
    "k512": (512, DEFAULT_DRIVER),
}
"""By name: the number of channels, and the scaling driver."""
NAMES = (
    *COMPARISONS,
    "neighbours",
    "discovery",
    "scale",
    "arrival",
    "idle",
    "p-states",
    "guest",
    "verify",
    "start",
    "top",
    "saving",
    "scrape",
)
_WIDTH = 110
"""Columns if the output is not a terminal."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """How thoroughly to measure."""

    rounds: int
    """Turns of each server at each number of channels."""
    slice_s: float
    """Length of each kind of load in a turn."""
    discoveries: int
    scales: tuple[int, ...]
    """Numbers of domains, measured side by side."""
    arrivals: int
    idle_s: float
    obeyed: int
    """Turns of each kind of channel."""
    silent_s: float
    guest_rounds: int
    verifications: int
    starts: int
    watch_s: float
    day_parts: int
    """Parts of a day; of each, this much is simulated:"""
    day_sample_s: float
    scrapes: int


FULL = Plan(
    rounds=11,
    slice_s=0.4,
    discoveries=5,
    scales=(100, 1_000),
    arrivals=20,
    idle_s=30.0,
    obeyed=2_000,
    silent_s=5.0,
    guest_rounds=7,
    verifications=40,
    starts=20,
    watch_s=60.0,
    day_parts=96,
    day_sample_s=1.0,
    scrapes=50,
)
"""Six minutes. 30 s of idling contain exactly one resync with libvirt."""
QUICK = Plan(
    rounds=3,
    slice_s=0.1,
    discoveries=1,
    scales=(10, 50),
    arrivals=5,
    idle_s=10.0,
    obeyed=200,
    silent_s=1.0,
    guest_rounds=1,
    verifications=4,
    starts=5,
    watch_s=10.0,
    day_parts=24,
    day_sample_s=0.2,
    scrapes=5,
)
"""A minute: enough to see that everything works, with figures of the right
magnitude."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the benchmark; return the exit status.

    0: measured, whether or not the aims were met; 1: failed; 2: invalid arguments.
    """
    options = _parse_arguments(arguments)
    stopwatch = _Stopwatch()
    try:
        results = _measure(
            QUICK if options.quick else FULL,
            options.only or NAMES,
            is_spinning=options.spin,
        )
    except BenchError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    circumstances = results.circumstances | stopwatch.read()
    results = replace(results, circumstances=circumstances)
    console = Console()
    if not console.is_terminal:
        console = Console(width=_WIDTH)
    for part in render(results):
        console.print(part)
    if options.json:
        _write_json(options.json, results)
    if options.svg and results.saving:
        write_picture(options.svg, results.saving)
    return 0


def _parse_arguments(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="bench", description="Compare vmpowerd with minimal loops in C."
    )
    parser.add_argument(
        "--quick", action="store_true", help="take one minute instead of five"
    )
    parser.add_argument(
        "--only",
        metavar="NAME",
        action="append",
        choices=NAMES,
        help=f"measure only this; can be repeated: {', '.join(NAMES)}",
    )
    parser.add_argument(
        "--spin",
        action="store_true",
        help="make the load poll without sleeping (uses a whole CPU)",
    )
    parser.add_argument(
        "--json", metavar="FILE", type=Path, help="write all runs to this file"
    )
    parser.add_argument(
        "--svg", metavar="FILE", type=Path, help="draw the saving benchmark"
    )
    return parser.parse_args(arguments)


def _measure(plan: Plan, names: Sequence[str], *, is_spinning: bool) -> Results:
    began = time.monotonic()

    def announce(name: str) -> bool:
        if name in names:
            took_s = time.monotonic() - began
            print(f"[{took_s:3.0f} s] {name}", file=sys.stderr, flush=True)
        return name in names

    return Results(
        circumstances=_describe_machine(is_spinning=is_spinning),
        comparisons=tuple(
            compare(
                channels,
                rounds=plan.rounds,
                slice_s=plan.slice_s,
                is_spinning=is_spinning,
                driver=driver,
            )
            for name, (channels, driver) in COMPARISONS.items()
            if announce(name)
        ),
        neighbours=measure_neighbours(plan.rounds, plan.slice_s)
        if announce("neighbours")
        else (),
        discoveries=tuple(
            discover() for _ in range(plan.discoveries * announce("discovery"))
        ),
        scales=tuple(map(measure_scale, plan.scales)) if announce("scale") else (),
        arrivals=measure_arrivals(plan.arrivals) if announce("arrival") else (),
        idle=measure_idle(plan.idle_s) if announce("idle") else None,
        obeyed=tuple(
            found
            for channels in OBEYED_CHANNELS * announce("p-states")
            for found in measure_obeyed(channels, plan.obeyed, plan.silent_s)
        ),
        guest_writes=measure_guest_writes(plan.guest_rounds)
        if announce("guest")
        else (),
        verification=measure_verification(plan.verifications)
        if announce("verify")
        else None,
        starts_ms=time_starts(plan.starts) if announce("start") else (),
        watching=watch(plan.watch_s) if announce("top") else None,
        saving=measure_day(plan.day_parts, plan.day_sample_s)
        if announce("saving")
        else (),
        saving_own_bursts=measure_own_bursts(plan.day_parts, plan.day_sample_s)
        if "saving" in names
        else (),
        scrape=measure_scrapes(plan.scrapes) if announce("scrape") else None,
    )


class _Stopwatch:
    """Measures the duration, and how much of the CPUs other processes used meanwhile.

    Synchronization: one thread.
    """

    def __init__(self) -> None:
        self._began = time.monotonic()
        self._others_before_s = read_busy_s() - read_own_s()

    def read(self) -> dict[str, str]:
        took_s = time.monotonic() - self._began
        others_s = read_busy_s() - read_own_s() - self._others_before_s
        # The resolution of ticks is coarse: without other processes this is slightly
        # negative.
        others_pct = max(0.0, 100 * others_s / took_s / _count_cpus())
        return {
            "took": f"{took_s:.0f} s",
            "others used": f"{others_pct:.0f} % of the CPUs",
        }


def _count_cpus() -> int:
    return os.cpu_count() or 1


def _describe_machine(*, is_spinning: bool) -> dict[str, str]:
    return {
        "date": datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        "CPUs": str(_count_cpus()),
        "CPU": _read_cpu_model(),
        "kernel": platform.release(),
        "Python": platform.python_version(),
        "compiler": compiler_version(),
        "load": "spinning" if is_spinning else "sleeping",
    }


def _read_cpu_model() -> str:
    for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
        name, _, value = line.partition(":")
        if name.strip() == "model name":
            return value.strip()
    return platform.machine()


def _write_json(path: Path, results: Results) -> None:
    document = asdict(results)
    document["aims"] = [
        asdict(verdict) | {"is_met": verdict.is_met} for verdict in judge(results)
    ]
    path.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")


def _raise_file_limit() -> None:
    # 512 clock groups have some 2600 files; a service gets them by LimitNOFILE=.
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


if __name__ == "__main__":
    bytecode.provide()
    _raise_file_limit()
    sys.exit(main())
