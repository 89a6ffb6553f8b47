# SPDX-License-Identifier: Apache-2.0
"""The servers side by side: same load, same packets, in turns.

For a number of channels, all servers run all the time, each with its own load
generator, and only one pair is active at once, for a fraction of a second. So other
processes of the machine affect all of them alike.
"""

from __future__ import annotations

import os
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from bench.figures import Comparison, Exchange, RoundTrips, Stream
from bench.load import Load, start_load
from bench.process_stats import read_cpu_ns, read_writes
from bench.servers import (
    Server,
    is_discoverable,
    start_reference,
    start_vmpowerd,
)
from bench.workspace import Workspace, make_workspace
from orchestrator.power.simulated_drivers import DEFAULT_DRIVER
from orchestrator.power.sysfs import CpuTree
from orchestrator.power.topology import read_topology

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractContextManager

    from bench.load import Run

PER_DOMAIN = 8
"""vCPUs, and so channels, of a domain if there are that many."""


@dataclass(slots=True, kw_only=True)
class _Pair:
    server: Server
    load: Load
    pid: int
    round_trips: list[RoundTrips] = field(default_factory=list)
    streams: list[Stream] = field(default_factory=list)

    def to_exchange(self) -> Exchange:
        return Exchange(
            server=self.server.name,
            round_trips=tuple(self.round_trips),
            streams=tuple(self.streams),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Measurement:
    """A run as measured by the load, and by the kernel for the serving process."""

    run: Run
    cpu_us_per_request: float
    writes_per_request: float | None


_STARTERS: tuple[Callable[[Workspace], AbstractContextManager[Server]], ...] = (
    start_vmpowerd,
    lambda workspace: start_reference(workspace, is_batched=False),
    lambda workspace: start_reference(workspace, is_batched=True),
)


def compare(
    channels: int,
    *,
    rounds: int,
    slice_s: float,
    is_spinning: bool = False,
    driver: str = DEFAULT_DRIVER,
) -> Comparison:
    """Measure vmpowerd and the loops in C at one number of channels.

    Args:
        channels: how many; each has its own vCPU, CPU and clock group.
        rounds: number of turns of each server.
        slice_s: length of each of its two kinds of load.
        is_spinning: the load never sleeps.
        driver: scaling driver of vmpowerd's simulated CPUs; the loops in C always have
            the default one, and set a frequency by one write.

    Raises:
        BenchError: an answer or a frequency was wrong.
    """
    with ExitStack() as stack:
        drivers = (driver, *[DEFAULT_DRIVER] * (len(_STARTERS) - 1))
        places = [_make_workspace(stack, channels, each) for each in drivers]
        pairs = [
            _start_pair(stack, workspace, start, is_spinning=is_spinning)
            for workspace, start in zip(places, _STARTERS, strict=True)
        ]
        _run_rounds(pairs, rounds, slice_s)
        (group, *_) = read_topology(CpuTree(places[0].tree)).groups
    return Comparison(
        channels=channels,
        mechanism=group.mechanism,
        entry="discovered" if is_discoverable(places[0]) else "handed in",
        exchanges=tuple(pair.to_exchange() for pair in pairs),
    )


def _make_workspace(stack: ExitStack, channels: int, driver: str) -> Workspace:
    return stack.enter_context(
        make_workspace(
            channels=channels,
            per_domain=min(channels, PER_DOMAIN),
            cpus=channels,
            driver=driver,
        )
    )


def _start_pair(
    stack: ExitStack,
    workspace: Workspace,
    start: Callable[[Workspace], AbstractContextManager[Server]],
    *,
    is_spinning: bool,
) -> _Pair:
    load = stack.enter_context(start_load(workspace, is_spinning=is_spinning))
    server = stack.enter_context(start(workspace))
    load.wait_until_served()
    pid = server.serving_pid()
    _separate_cpus(load.pid, pid)
    return _Pair(server=server, load=load, pid=pid)


def _separate_cpus(load: int, server: int) -> None:
    """Give a load and its server a CPU each, if there are two.

    Guests have their own CPUs, too. Otherwise the scheduler leaves some pairs on one
    CPU and some on two, where a wake-up takes ten times as long, and the ratios would
    compare that.
    """
    cpus = sorted(os.sched_getaffinity(0))
    os.sched_setaffinity(load, cpus[:1])
    os.sched_setaffinity(server, cpus[-1:])


def _run_rounds(pairs: list[_Pair], rounds: int, slice_s: float) -> None:
    for pair in pairs:  # warm-up
        pair.load.round_trips(slice_s)
        pair.load.stream(slice_s)
    for number in range(rounds):
        # In changing order, so that no server always follows the same one.
        shift = number % len(pairs)
        for pair in pairs[shift:] + pairs[:shift]:
            _run_turn(pair, slice_s)
    for pair in pairs:
        pair.load.check_frequencies()


def _run_turn(pair: _Pair, slice_s: float) -> None:
    load, pid = pair.load, pair.pid
    seen = _observe(pid, lambda: load.round_trips(slice_s))
    run = seen.run
    pair.round_trips.append(
        RoundTrips(
            p50_us=run.p50_ns / 1e3,
            p99_us=run.p99_ns / 1e3,
            p999_us=run.p999_ns / 1e3,
            requests_per_s=run.answers / run.seconds,
            cpu_us_per_request=seen.cpu_us_per_request,
            writes_per_request=seen.writes_per_request,
            lost=run.lost,
        )
    )
    seen = _observe(pid, lambda: load.stream(slice_s))
    answers_per_s, writes = seen.run.answers / seen.run.seconds, seen.writes_per_request
    pair.streams.append(
        Stream(
            requests_per_s=answers_per_s,
            writes_per_s=None if writes is None else writes * answers_per_s,
            cpu_us_per_request=seen.cpu_us_per_request,
            lost=seen.run.lost,
        )
    )


def _observe(pid: int, work: Callable[[], Run]) -> _Measurement:
    writes_before, cpu_before_ns = read_writes(pid), read_cpu_ns(pid)
    run = work()
    cpu_ns, writes_after = read_cpu_ns(pid) - cpu_before_ns, read_writes(pid)
    writes_per_request = None
    if writes_before is not None and writes_after is not None:
        writes_per_request = (writes_after - writes_before) / run.requests
    return _Measurement(
        run=run,
        cpu_us_per_request=cpu_ns / 1e3 / run.requests,
        writes_per_request=writes_per_request,
    )
