"""What the command `watch` does: one line of clocks and loads after the other."""

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

_HEAD_EVERY = 20
_WIDTHS = (8, 16)
"""Of the time, and of a vCPU's clock and load."""


def watch(options: Namespace, reporter: Reporter) -> None:
    """Show clocks and loads again and again."""
    with open_any_clock(options) as clock:
        watch_through(clock, options, reporter)


def watch_through(clock: VCpuClock, options: Namespace, reporter: Reporter) -> None:
    """Show what one port tells, until so many lines were written."""
    before = read_times(options.stat)
    lines = 0
    while not options.count or lines < options.count:
        time.sleep(options.interval)
        after = read_times(options.stat)
        loads = loads_between(before, after)
        clocks = _query(clock)
        if clocks is not None:
            if lines % _HEAD_EVERY == 0 and not reporter.is_json:
                reporter.tell(render_head(tuple(clocks)))
            at = datetime.now().astimezone()
            vcpus = [
                {"vcpu": vcpu, "khz": khz, "load": loads.get(vcpu)}
                for vcpu, khz in clocks.items()
            ]
            text = render_line(at, clocks, loads)
            reporter.tell(text, at=at.isoformat(), vcpus=vcpus)
            lines += 1
        before = after


def _query(clock: VCpuClock) -> dict[int, int | None] | None:
    try:
        return clock.query_freqs()
    except (AnswerMissing, HostAbsent) as error:
        warn(str(error))
        return None


def render_head(vcpus: Sequence[int]) -> str:
    """Write the line above the columns."""
    return _line("time", [f"vCPU {vcpu}" for vcpu in vcpus])


def render_line(
    at: datetime, clocks: Mapping[int, int | None], loads: Mapping[int, float]
) -> str:
    """Write one line: the time, and each vCPU's clock and load."""
    cells = [
        f"{format_khz(khz):>8} {_share(loads.get(vcpu)):>5}"
        for vcpu, khz in clocks.items()
    ]
    return _line(f"{at:%H:%M:%S}", cells)


def _line(first: str, cells: Sequence[str]) -> str:
    time_width, width = _WIDTHS
    return align([first, *cells], [time_width, *[width] * len(cells)])


def _share(load: float | None) -> str:
    return "-" if load is None else f"{load:.0%}"
