"""The servers side by side: same load, same packets, in turns.

Every server of one number of channels runs all the time, each with a load generator of
its own, and only one pair works at once, for a fraction of a second. So whatever else
the machine does meanwhile hits all of them alike.
"""

from __future__ import annotations

import os
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from bench.figures import Comparison, Exchange, RoundTrips, Stream
from bench.load import Load, start_load
from bench.place import Place, make_place
from bench.readings import read_cpu_ns, read_writes
from bench.servers import (
    Server,
    is_discoverable,
    start_reference,
    start_vmpowerd,
)

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractContextManager

    from bench.load import Run

PER_DOMAIN = 8
"""vCPUs, and so channels, of a domain that has that many."""


@dataclass(slots=True, kw_only=True)
class _Contestant:
    server: Server
    load: Load
    pid: int
    round_trips: list[RoundTrips] = field(default_factory=list)
    streams: list[Stream] = field(default_factory=list)

    def sum_up(self) -> Exchange:
        return Exchange(
            server=self.server.name,
            round_trips=tuple(self.round_trips),
            streams=tuple(self.streams),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Seen:
    """A run from both sides: the load's, and the kernel's of the serving process."""

    run: Run
    cpu_us_per_request: float
    writes_per_request: float | None


_STARTERS: tuple[Callable[[Place], AbstractContextManager[Server]], ...] = (
    start_vmpowerd,
    lambda place: start_reference(place, is_batched=False),
    lambda place: start_reference(place, is_batched=True),
)


def compare(
    channels: int, *, rounds: int, slice_s: float, is_spinning: bool = False
) -> Comparison:
    """Measure vmpowerd and the loops in C at one number of channels.

    Args:
        channels: how many; each has a vCPU, a CPU and a clock of its own.
        rounds: how often each server gets its turn.
        slice_s: how long each of its two kinds of load lasts.
        is_spinning: the load never sleeps.

    Raises:
        BenchError: an answer or a clock was wrong.
    """
    with ExitStack() as stack:
        places = [_place(stack, channels) for _ in _STARTERS]
        contestants = [
            _contestant(stack, place, start, is_spinning=is_spinning)
            for place, start in zip(places, _STARTERS, strict=True)
        ]
        _take_turns(contestants, rounds, slice_s)
    return Comparison(
        channels=channels,
        entry="discovered" if is_discoverable(places[0]) else "handed in",
        exchanges=tuple(contestant.sum_up() for contestant in contestants),
    )


def _place(stack: ExitStack, channels: int) -> Place:
    per_domain = min(channels, PER_DOMAIN)
    return stack.enter_context(
        make_place(channels=channels, per_domain=per_domain, cpus=channels)
    )


def _contestant(
    stack: ExitStack,
    place: Place,
    start: Callable[[Place], AbstractContextManager[Server]],
    *,
    is_spinning: bool,
) -> _Contestant:
    load = stack.enter_context(start_load(place, is_spinning=is_spinning))
    server = stack.enter_context(start(place))
    load.greet()
    pid = server.serving_pid()
    _part(load.pid, pid)
    return _Contestant(server=server, load=load, pid=pid)


def _part(load: int, server: int) -> None:
    """Give a load and its server a CPU each, where there are two.

    So it is with guests, whose vCPUs have theirs. Left alone, the scheduler settles
    some pairs on one CPU and some on two, where a wake-up takes ten times as long: the
    ratios would compare that.
    """
    cpus = sorted(os.sched_getaffinity(0))
    os.sched_setaffinity(load, cpus[:1])
    os.sched_setaffinity(server, cpus[-1:])


def _take_turns(contestants: list[_Contestant], rounds: int, slice_s: float) -> None:
    for contestant in contestants:  # to warm up
        contestant.load.round_trips(slice_s)
        contestant.load.stream(slice_s)
    for number in range(rounds):
        # Nobody is always the one who comes after the same other one.
        shift = number % len(contestants)
        for contestant in contestants[shift:] + contestants[:shift]:
            _take_turn(contestant, slice_s)
    for contestant in contestants:
        contestant.load.check_clocks()


def _take_turn(contestant: _Contestant, slice_s: float) -> None:
    load, pid = contestant.load, contestant.pid
    seen = _observe(pid, lambda: load.round_trips(slice_s))
    run = seen.run
    contestant.round_trips.append(
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
    contestant.streams.append(
        Stream(
            requests_per_s=answers_per_s,
            writes_per_s=None if writes is None else writes * answers_per_s,
            cpu_us_per_request=seen.cpu_us_per_request,
            lost=seen.run.lost,
        )
    )


def _observe(pid: int, work: Callable[[], Run]) -> _Seen:
    writes_before, cpu_before_ns = read_writes(pid), read_cpu_ns(pid)
    run = work()
    cpu_ns, writes_after = read_cpu_ns(pid) - cpu_before_ns, read_writes(pid)
    writes_per_request = None
    if writes_before is not None and writes_after is not None:
        writes_per_request = (writes_after - writes_before) / run.requests
    return _Seen(
        run=run,
        cpu_us_per_request=cpu_ns / 1e3 / run.requests,
        writes_per_request=writes_per_request,
    )
