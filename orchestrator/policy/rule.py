"""What the host's configuration can say about policies: `[[policy]]`, as a value.

The options of all kinds stand in one table, because that is what people write; each
belongs to the kinds that its docstring names, and is refused beside the others.
Synchronization: none required, everything here is immutable.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, fields
from enum import StrEnum
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from orchestrator.errors import ConfigError
from orchestrator.policy.timetable import parse_window
from orchestrator.values.cpuset import parse_cpulist

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

SHORTEST_PERIOD_S = 0.001
"""A thousand decisions a second; more would be a busy loop."""
LONGEST_PERIOD_S = 3600.0
SHORTEST_LOOK_S = 0.1
"""QEMU's vCPU times come in ticks of 10 ms, and each look is a call into libvirt."""

_MAC = re.compile(r"[0-9a-f]{2}([:-][0-9a-f]{2}){5}|[0-9a-f]{4}(:[0-9a-f]{4}){2}")
"""Both forms that DPDK's rte_ether_unformat_addr() takes, and dashes."""


class PolicyKind(StrEnum):
    """Which rule a policy follows."""

    TRAFFIC = "traffic"
    """Packets that arrive."""
    TIME_OF_DAY = "time-of-day"
    """Busy and quiet times."""
    WORKLOAD = "workload"
    """A level that somebody named."""
    BRANCH_RATIO = "branch-ratio"
    """Mispredicted branches: a polling loop that finds nothing has next to none."""
    UTILISATION = "utilisation"
    """How much of the time its vCPUs run; for guests that sleep when idle."""


class Workload(StrEnum):
    """How much a domain has to do, by somebody's word."""

    HIGH = "high"
    """The highest clock."""
    MEDIUM = "medium"
    """The clock in the middle."""
    LOW = "low"
    """The lowest clock."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PolicyRule:
    """A policy for the domains that it matches.

    Of several rules that cover a vCPU the first one holds.
    """

    match: str
    """Shell pattern of the domain's name, or its UUID."""
    kind: PolicyKind
    """Which rule it follows."""
    vcpus: str | None = None
    """vCPUs that it is about, as in "1-3"; none: all."""
    period_s: float | None = None
    """Seconds between decisions; none: 0.1 for traffic, 0.01 for branch-ratio, 1 for
    the others."""
    macs: tuple[str, ...] | None = None
    """traffic, time-of-day: the domain's interfaces to watch; none: all that it has."""
    avg_pps: int | None = None
    """traffic, time-of-day: packets a second from which the middle clock is given."""
    max_pps: int | None = None
    """traffic, time-of-day: packets a second from which the highest clock is given."""
    busy: tuple[str, ...] | None = None
    """time-of-day: when the highest clock is given, as in "mon-fri 08:00-18:00"."""
    quiet: tuple[str, ...] | None = None
    """time-of-day: when the lowest clock is given."""
    traffic: tuple[str, ...] | None = None
    """time-of-day: when traffic decides. Where times overlap busy goes before quiet
    and quiet before traffic."""
    zone: str | None = None
    """time-of-day: time zone, as in "Europe/Berlin"; none: the host's."""
    workload: Workload | None = None
    """workload: the level."""
    threshold_percent: float | None = None
    """branch-ratio: mispredicted branches in a hundred above which the highest clock
    is given; none: 0.1."""
    up_above: float | None = None
    """utilisation: part of the time, 0 to 1, from which the highest clock is given at
    once; none: 0.8."""
    down_below: float | None = None
    """utilisation: part of the time below which the clock goes down by a step; none:
    0.5."""
    calm_samples: int | None = None
    """utilisation: how many decisions in a row must find it low for each step down;
    none: 3."""


_TRAFFIC = frozenset({"macs", "avg_pps", "max_pps"})
_COMMON = frozenset({"match", "kind", "vcpus", "period_s"})
_OPTIONS: dict[PolicyKind, frozenset[str]] = {
    PolicyKind.TRAFFIC: _TRAFFIC,
    PolicyKind.TIME_OF_DAY: _TRAFFIC | {"busy", "quiet", "traffic", "zone"},
    PolicyKind.WORKLOAD: frozenset({"workload"}),
    PolicyKind.BRANCH_RATIO: frozenset({"threshold_percent"}),
    PolicyKind.UTILISATION: frozenset({"up_above", "down_below", "calm_samples"}),
}


def find_contradictions(rule: PolicyRule) -> Iterator[str]:
    """Yield what cannot be meant, one sentence each."""
    known = _COMMON | _OPTIONS[rule.kind]
    for item in fields(rule):
        if item.name not in known and getattr(rule, item.name) is not None:
            yield f"{item.name}: means nothing to kind '{rule.kind}'"
    yield from _check_common(rule)
    yield from _CHECKS[rule.kind](rule)


def parse_mac(text: str) -> str:
    """Bring a MAC address into the one form that is compared: `52:54:00:12:34:56`.

    Raises:
        ConfigError: it is no MAC address.
    """
    word = text.strip().lower()
    if not _MAC.fullmatch(word):
        raise ConfigError(f"'{text}' is no MAC address", hint="write 52:54:00:12:34:56")
    return bytes.fromhex(re.sub("[:-]", "", word)).hex(":")


def _check_common(rule: PolicyRule) -> Iterator[str]:
    period_s = rule.period_s
    if period_s is not None and not SHORTEST_PERIOD_S <= period_s <= LONGEST_PERIOD_S:
        yield f"period_s: {period_s} is not between 1 ms and 1 h"
    if rule.vcpus is not None:
        try:
            if not parse_cpulist(rule.vcpus, noun="vCPU"):
                yield "vcpus: names none"
        except ConfigError as error:
            yield f"vcpus: {error}"


def _check_traffic(rule: PolicyRule) -> Iterator[str]:
    is_needed = rule.kind is PolicyKind.TRAFFIC or bool(rule.traffic)
    for name in ("avg_pps", "max_pps"):
        value = getattr(rule, name)
        if value is None and is_needed:
            yield f"{name}: missing"
        if value is not None and value < 0:
            yield f"{name}: negative"
    low, high = rule.avg_pps, rule.max_pps
    if low is not None and high is not None and low > high:
        yield f"avg_pps {low} is above max_pps {high}"
    yield from _try_each("macs", rule.macs, parse_mac)


def _check_times(rule: PolicyRule) -> Iterator[str]:
    yield from _check_traffic(rule)
    if not (rule.busy or rule.quiet or rule.traffic):
        yield "busy, quiet, traffic: all missing"
    for name in ("busy", "quiet", "traffic"):
        yield from _try_each(name, getattr(rule, name), parse_window)
    if rule.zone is not None:
        try:
            ZoneInfo(rule.zone)
        # A key that leads out of the zones is a ValueError, a directory an OSError.
        except (ZoneInfoNotFoundError, ValueError, OSError):
            yield f"zone: no time zone '{rule.zone}'"


def _try_each(
    name: str, texts: Iterable[str] | None, parse: Callable[[str], object]
) -> Iterator[str]:
    for text in texts or ():
        try:
            parse(text)
        except ConfigError as error:
            yield f"{name}: {error}"


def _check_workload(rule: PolicyRule) -> Iterator[str]:
    if rule.workload is None:
        yield "workload: missing"


def _check_branch_ratio(rule: PolicyRule) -> Iterator[str]:
    percent = rule.threshold_percent
    if percent is not None and not 0 <= percent <= 100:
        yield f"threshold_percent: {percent} is no percentage"


def _check_utilisation(rule: PolicyRule) -> Iterator[str]:
    up = 0.8 if rule.up_above is None else rule.up_above
    down = 0.5 if rule.down_below is None else rule.down_below
    if not 0 <= down <= up <= 1:
        yield f"down_below {down} and up_above {up} must be in order between 0 and 1"
    if rule.calm_samples is not None and rule.calm_samples < 1:
        yield "calm_samples: less than 1"
    if rule.period_s is not None and rule.period_s < SHORTEST_LOOK_S:
        yield f"period_s: libvirt is asked at most every {SHORTEST_LOOK_S} s"


_CHECKS: Mapping[PolicyKind, Callable[[PolicyRule], Iterator[str]]] = {
    PolicyKind.TRAFFIC: _check_traffic,
    PolicyKind.TIME_OF_DAY: _check_times,
    PolicyKind.WORKLOAD: _check_workload,
    PolicyKind.BRANCH_RATIO: _check_branch_ratio,
    PolicyKind.UTILISATION: _check_utilisation,
}
