"""Single values as words: counts, times, lists, and what strangers wrote."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING

from cli.output.tables.sheet import Bar, Cell, Look
from orchestrator.values.cpuset import format_cpulist
from orchestrator.values.safe_text import printable
from orchestrator.values.units import format_khz

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import tzinfo

    from orchestrator.control.documents import Cpu

_MINUTE_S, _HOUR_S, _DAY_S = 60, 3_600, 86_400
NONE = Cell("-", Look.QUIET)


def name(text: str) -> Cell:
    """Name what a row is about."""
    return Cell(printable(text), Look.NAME)


def count(number: int, look: Look = Look.PLAIN) -> Cell:
    """Write how many: 12,345 for people, 12345 for scripts, quietly if none."""
    return Cell(f"{number:,}", look if number else Look.QUIET, str(number))


def clock(khz: int | None, look: Look = Look.PLAIN) -> Cell:
    """Write a frequency."""
    return NONE if khz is None else Cell(format_khz(khz), look)


def clock_of(cpu: Cpu) -> Cell:
    """Write a CPU's clock now, in the colour of who chose it."""
    khz = cpu["current_khz"]
    look = Look.NOTABLE if cpu["override_khz"] is not None else Look.PLAIN
    return NONE if khz is None else Cell(step_name(khz, cpu), look)


def step_name(khz: int, cpu: Cpu) -> str:
    """Format a frequency of a CPU, marked as turbo if it is above the nominal one.

    The mark tells 3001 MHz, which stands for turbo, from the nominal 3000 MHz.
    """
    # Absent from the documents of a daemon that was not restarted after an upgrade.
    nominal_khz = cpu.get("nominal_khz")
    is_turbo = nominal_khz is not None and khz > nominal_khz
    return format_khz(khz) + (" turbo" if is_turbo else "")


def is_simulated(cpus: list[Cpu]) -> bool:
    """Tell whether the numbers are those of files and not of CPUs."""
    return any(cpu["simulated"] for cpu in cpus)


def clock_bar(cpu: Cpu) -> Bar:
    """Draw a CPU's clock between the lowest and the highest that it may have."""
    khz, span = cpu["current_khz"], cpu["max_khz"] - cpu["min_khz"]
    look = Look.NOTABLE if cpu["override_khz"] is not None else Look.GOOD
    if khz is None or span <= 0:
        return Bar(None)
    if not cpu["claimed"] and cpu["override_khz"] is None:
        look = Look.QUIET
    return Bar(min(1.0, max(0.0, (khz - cpu["min_khz"]) / span)), look)


def by_reason(reasons: Iterable[tuple[int, str | None]]) -> list[tuple[str, str]]:
    """Collect CPUs that have the same reason: (CPU list, reason)."""
    found: dict[str, list[int]] = {}
    for pcpu, reason in reasons:
        if reason:
            found.setdefault(reason, []).append(pcpu)
    return [(format_cpulist(cpus), printable(why)) for why, cpus in found.items()]


def plural(number: int, word: str) -> str:
    """Write `1 domain`, `2 domains`."""
    return f"{number} {word}" if number == 1 else f"{number} {word}s"


def duration(seconds: float) -> str:
    """Write a duration in the two units that matter: `2 h 3 min`."""
    whole = int(seconds)
    if whole < _MINUTE_S:
        return f"{whole} s"
    if whole < _HOUR_S:
        return f"{whole // _MINUTE_S} min {whole % _MINUTE_S} s"
    if whole < _DAY_S:
        return f"{whole // _HOUR_S} h {whole % _HOUR_S // _MINUTE_S} min"
    return f"{whole // _DAY_S} d {whole % _DAY_S // _HOUR_S} h"


def moment(text: str, zone: tzinfo | None, shape: str = "%Y-%m-%d %H:%M:%S") -> str:
    """Write an ISO 8601 time in a zone; None is the zone of the machine."""
    return datetime.fromisoformat(text).astimezone(zone).strftime(shape)
