# SPDX-License-Identifier: Apache-2.0
"""`vmpower-guest watch`: frequencies and loads, one line per interval."""

from __future__ import annotations

import time
from datetime import datetime
from typing import TYPE_CHECKING

from orchestrator.errors import AnswerMissing, HostAbsent
from orchestrator.guest.load import loads_between, read_times
from orchestrator.guest.ports import open_any_clock
from orchestrator.guest.report import Reporter, align, warn
from orchestrator.values.units import format_khz

if TYPE_CHECKING:
    from argparse import Namespace
    from collections.abc import Mapping, Sequence

    from orchestrator.guest.clock import VCpuClock

_HEADER_EVERY = 20
_WIDTHS = (8, 16)
"""Of the time, and of the frequency and load of a vCPU."""


def watch(options: Namespace, reporter: Reporter) -> None:
    """Show frequencies and loads at an interval."""
    with open_any_clock(options) as clock:
        watch_through(clock, options, reporter)


def watch_through(clock: VCpuClock, options: Namespace, reporter: Reporter) -> None:
    """Query over one port, until the requested number of lines is written."""
    before = read_times(options.stat)
    lines = 0
    while not options.count or lines < options.count:
        time.sleep(options.interval)
        after = read_times(options.stat)
        loads = loads_between(before, after)
        frequencies = _query(clock)
        if frequencies is not None:
            if lines % _HEADER_EVERY == 0 and not reporter.is_json:
                reporter.write(render_header(tuple(frequencies)))
            at = datetime.now().astimezone()
            vcpus = [
                {"vcpu": vcpu, "khz": khz, "load": loads.get(vcpu)}
                for vcpu, khz in frequencies.items()
            ]
            text = render_line(at, frequencies, loads)
            reporter.write(text, at=at.isoformat(), vcpus=vcpus)
            lines += 1
        before = after


def _query(clock: VCpuClock) -> dict[int, int | None] | None:
    try:
        return clock.query_freqs()
    except (AnswerMissing, HostAbsent) as error:
        warn(str(error))
        return None


def render_header(vcpus: Sequence[int]) -> str:
    """Return the header line."""
    return _line("time", [f"vCPU {vcpu}" for vcpu in vcpus])


def render_line(
    at: datetime, frequencies: Mapping[int, int | None], loads: Mapping[int, float]
) -> str:
    """Return a line: the time, and the frequency and load of each vCPU."""
    cells = [
        f"{format_khz(khz):>8} {_share(loads.get(vcpu)):>5}"
        for vcpu, khz in frequencies.items()
    ]
    return _line(f"{at:%H:%M:%S}", cells)


def _line(first: str, cells: Sequence[str]) -> str:
    time_width, width = _WIDTHS
    return align([first, *cells], [time_width, *[width] * len(cells)])


def _share(load: float | None) -> str:
    return "-" if load is None else f"{load:.0%}"
