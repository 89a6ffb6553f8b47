# SPDX-License-Identifier: Apache-2.0
"""Single values as cells and text: counts, frequencies, times, lists."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING

from cli.output.tables.sheet import Bar, Cell, Style
from orchestrator.values.cpuset import format_cpulist
from orchestrator.values.safe_text import printable
from orchestrator.values.units import format_khz

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import tzinfo

    from orchestrator.control.documents import Cpu

_MINUTE_S, _HOUR_S, _DAY_S = 60, 3_600, 86_400
NONE = Cell("-", Style.QUIET)


def name(text: str) -> Cell:
    """Show the name that a row is about."""
    return Cell(printable(text), Style.NAME)


def count(number: int, style: Style = Style.PLAIN) -> Cell:
    """Show a count: 12,345 on terminals, 12345 for scripts; zero is dimmed."""
    return Cell(f"{number:,}", style if number else Style.QUIET, str(number))


def frequency(khz: int | None, style: Style = Style.PLAIN) -> Cell:
    """Show a frequency."""
    return NONE if khz is None else Cell(format_khz(khz), style)


def current_frequency(cpu: Cpu) -> Cell:
    """Show a CPU's current frequency, highlighted if an operator overrides it."""
    style = Style.NOTABLE if cpu["override_khz"] is not None else Style.PLAIN
    return step(cpu["current_khz"], cpu, style)


def step(khz: int | None, cpu: Cpu, style: Style = Style.PLAIN) -> Cell:
    """Show a frequency of a CPU, see `step_name`."""
    return NONE if khz is None else Cell(step_name(khz, cpu), style)


def step_name(khz: int, cpu: Cpu) -> str:
    """Format a frequency of a CPU, marked as turbo if it is above the nominal one.

    The mark distinguishes 3001 MHz, which means turbo, from the nominal 3000 MHz.
    """
    # Absent from the documents of a daemon that was not restarted after an upgrade.
    nominal_khz = cpu.get("nominal_khz")
    is_turbo = nominal_khz is not None and khz > nominal_khz
    return format_khz(khz) + (" turbo" if is_turbo else "")


def format_range(low_khz: int, highest: str) -> str:
    """Format a range up to a frequency that is text already: `1.20-2.60 GHz`."""
    lowest = format_khz(low_khz)
    number, unit = lowest.split()
    if lowest == highest:
        return highest
    return f"{number if unit in highest else lowest}-{highest}"


def find_step_name(khz: int, cpus: Iterable[Cpu]) -> str:
    """Format a frequency as the CPUs that have this step do."""
    for cpu in cpus:
        if khz in cpu["steps_khz"]:
            return step_name(khz, cpu)
    return format_khz(khz)


def is_simulated(cpus: list[Cpu]) -> bool:
    """Return whether the CPUs are simulated."""
    return any(cpu["simulated"] for cpu in cpus)


def frequency_bar(cpu: Cpu) -> Bar:
    """Draw a CPU's current frequency between its lower and upper bound."""
    khz, span = cpu["current_khz"], cpu["max_khz"] - cpu["min_khz"]
    style = Style.NOTABLE if cpu["override_khz"] is not None else Style.GOOD
    if khz is None or span <= 0:
        return Bar(None)
    if not cpu["claimed"] and cpu["override_khz"] is None:
        style = Style.QUIET
    return Bar(min(1.0, max(0.0, (khz - cpu["min_khz"]) / span)), style)


def by_reason(reasons: Iterable[tuple[int, str | None]]) -> list[tuple[str, str]]:
    """Group CPUs or vCPUs by reason: (their list, reason)."""
    found: dict[str, list[int]] = {}
    for pcpu, reason in reasons:
        if reason:
            found.setdefault(reason, []).append(pcpu)
    return [(format_cpulist(cpus), printable(why)) for why, cpus in found.items()]


def plural(number: int, noun: str) -> str:
    """Format a count with its noun: `1 domain`, `2 domains`."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def format_duration(seconds: float) -> str:
    """Format a duration in its two largest units: `2 h 3 min`."""
    whole = int(seconds)
    if whole < _MINUTE_S:
        return f"{whole} s"
    if whole < _HOUR_S:
        return f"{whole // _MINUTE_S} min {whole % _MINUTE_S} s"
    if whole < _DAY_S:
        return f"{whole // _HOUR_S} h {whole % _HOUR_S // _MINUTE_S} min"
    return f"{whole // _DAY_S} d {whole % _DAY_S // _HOUR_S} h"


def format_time(
    text: str, zone: tzinfo | None, pattern: str = "%Y-%m-%d %H:%M:%S"
) -> str:
    """Format an ISO 8601 time in a time zone; None: the local one."""
    return datetime.fromisoformat(text).astimezone(zone).strftime(pattern)
