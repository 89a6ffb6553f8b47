# SPDX-License-Identifier: Apache-2.0
"""For how long the threads of each domain ran at which frequency: core-seconds.

Theory of operation: a slot is a frequency, together with the frequencies that would
have been set in its place if all votes were granted, and without any vote. So a
residency, core-seconds by slot, is all that is needed to compute what was used, what
was saved, and what would be saved, with any power curve and at any later time.

A **core-second** is one second of one physical core that runs one thread. Two busy
threads of one core draw 15 % more than one, not twice as much, so each of them counts
0.575 (METRION, arXiv 2512.06806, for hyper-threads).
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, NamedTuple, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from orchestrator.values.domain import DomainId

SMT_POWER = 1.15
"""Power of a core with two busy threads, relative to one with one."""
_PAIRED = 1 - SMT_POWER / 2
"""What a thread's time counts less while its sibling is busy, too."""
POLL_SHARE = 0.95
"""A vCPU that runs for at least this share of the time polls: what it draws depends on
the frequency alone, and not on how much work it has."""


class Activity(StrEnum):
    """What a thread does; its power depends on it."""

    POLL = "poll"
    """A vCPU that runs all the time."""
    OTHER = "other"
    """Another vCPU, or a thread of QEMU."""


class Slot(NamedTuple):
    """A state in which threads run; kHz, 0: unknown."""

    activity: Activity
    group: int | None
    """Clock group; None: threads that float over several."""
    khz: int
    """At which frequency they ran."""
    requested_khz: int
    """At which they would have run if all votes had been granted, as in mode `observe`
    they are not; else the same as `khz`."""
    highest_khz: int
    """At which they would have run without votes: the highest step that the vCPU may
    have, and that the hardware reaches now."""


Residency: TypeAlias = "Mapping[Slot, float]"
"""Core-seconds by slot."""


class ClockShare(NamedTuple):
    """A frequency of a vCPU's core for a share of an interval; kHz as in `Slot`."""

    share: float
    """0 to 1; those of one interval add up to 1."""
    khz: int
    requested_khz: int
    highest_khz: int


class ThreadRun(NamedTuple):
    """The run time of a vCPU, or of a domain's other threads, in an interval."""

    uuid: DomainId
    activity: Activity
    group: int | None
    """As in `Slot`."""
    core: int | None
    """The physical core that it is pinned to; None: more than one."""
    run_s: float
    """CPU seconds."""
    clock: tuple[ClockShare, ...]


def classify(run_s: float, duration_s: float) -> Activity:
    """Return what a vCPU does that ran for a time in an interval."""
    return Activity.POLL if run_s >= POLL_SHARE * duration_s else Activity.OTHER


def account(
    runs: Iterable[ThreadRun], duration_s: float
) -> dict[DomainId, dict[Slot, float]]:
    """Return the residency of each domain in an interval.

    Args:
        runs: what ran.
        duration_s: length of the interval.
    """
    known = list(runs)
    load: dict[int, float] = defaultdict(float)
    for run in known:
        if run.core is not None:
            load[run.core] += run.run_s / duration_s
    result: dict[DomainId, dict[Slot, float]] = {}
    for run in known:
        core_s = run.run_s
        if run.core is not None:
            others = load[run.core] - run.run_s / duration_s
            core_s *= 1 - _PAIRED * min(1.0, max(0.0, others))
        slots = result.setdefault(run.uuid, {})
        for share, *frequencies in run.clock:
            slot = Slot(run.activity, run.group, *frequencies)
            slots[slot] = slots.get(slot, 0.0) + core_s * share
    return result


class MeterSource(StrEnum):
    """Where the energy of a host comes from."""

    POWERCAP = "powercap"
    """The kernel's powercap zones (RAPL)."""
    HWMON = "hwmon"
    """AMD's counters through the kernel's hwmon."""
    PERF = "perf"
    """The events `power` of the kernel's perf."""
    MODELLED = "modelled"
    """No meter: published curves of the processor's class."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DomainEnergy:
    """The energy of one domain in an interval; all in joules at the package."""

    joules: float = 0.0
    """Energy of its threads; without any part of the static energy."""
    error_joules: float = 0.0
    """Uncertainty of `joules`: one standard deviation, either way."""
    saved_joules: float = 0.0
    """What its vCPUs would have drawn more at their highest permitted step; can be
    negative only by errors of measurement."""
    saved_error_joules: float = 0.0
    possible_joules: float = 0.0
    """What would have been saved if all votes had been granted, `saved_joules`
    included. They are the same where all are granted."""
    run_s: float = 0.0
    """CPU-seconds of its threads: in `residency`, two threads of a core count less."""
    residency: Residency


@dataclass(frozen=True, slots=True, kw_only=True)
class HostEnergy:
    """The energy of the host's packages in an interval; in joules.

    `measured` = `static` + `idle` + `host` + the domains', to 0.1 %, unless `hole`.
    """

    source: MeterSource
    measured_joules: float
    """All packages together; with a model, and in a hole, the sum of the others."""
    static_joules: float
    """What the packages draw with all cores idle: caches, memory controllers, links."""
    idle_joules: float
    """Cores that sleep."""
    host_joules: float
    """Threads of no domain."""
    error_joules: float = 0.0
    """Uncertainty of the domains' sum."""
    saved_joules: float = 0.0
    saved_error_joules: float = 0.0
    possible_joules: float = 0.0
    dram_joules: float | None = None
    """Memory; not part of the packages' energy. None: no meter."""
    psys_joules: float | None = None
    """The whole platform, packages and memory included. None: no meter."""
    is_static_calibrated: bool = False
    """Whether the static power was measured on this host; else it is that of the
    processor's class."""
    hole: str = ""
    """Why the meters' values cannot be used; empty: they can. The domains' energies
    are modelled then."""

    @property
    def is_modelled(self) -> bool:
        """Whether no meter contributed."""
        return self.source is MeterSource.MODELLED or bool(self.hole)


@dataclass(frozen=True, slots=True, kw_only=True)
class EnergyInterval:
    """Who used what in an interval."""

    start: float
    """Wall time: seconds since the epoch, UTC."""
    duration_s: float
    domains: Mapping[DomainId, DomainEnergy]
    """The running domains."""
    host: HostEnergy


def combine(intervals: Iterable[EnergyInterval]) -> EnergyInterval:
    """Return intervals that follow each other as one.

    Errors of one interval are not independent of those of the next (the curves are the
    same), so they are added.

    Raises:
        ValueError: there is none.
    """
    known = list(intervals)
    if not known:
        raise ValueError("no interval")
    parts: dict[DomainId, list[DomainEnergy]] = {}
    for interval in known:
        for uuid, domain in interval.domains.items():
            parts.setdefault(uuid, []).append(domain)
    return EnergyInterval(
        start=known[0].start,
        duration_s=sum(interval.duration_s for interval in known),
        domains={uuid: _add_domains(domains) for uuid, domains in parts.items()},
        host=_add_hosts([interval.host for interval in known]),
    )


def add_residencies(residencies: Iterable[Residency]) -> dict[Slot, float]:
    """Return the sum of residencies."""
    total: dict[Slot, float] = {}
    for residency in residencies:
        for slot, core_s in residency.items():
            total[slot] = total.get(slot, 0.0) + core_s
    return total


def _add_domains(parts: list[DomainEnergy]) -> DomainEnergy:
    return DomainEnergy(
        joules=sum(part.joules for part in parts),
        error_joules=sum(part.error_joules for part in parts),
        saved_joules=sum(part.saved_joules for part in parts),
        saved_error_joules=sum(part.saved_error_joules for part in parts),
        possible_joules=sum(part.possible_joules for part in parts),
        run_s=sum(part.run_s for part in parts),
        residency=add_residencies(part.residency for part in parts),
    )


def _add_hosts(parts: list[HostEnergy]) -> HostEnergy:
    last = parts[-1]
    return HostEnergy(
        source=last.source,
        measured_joules=sum(part.measured_joules for part in parts),
        static_joules=sum(part.static_joules for part in parts),
        idle_joules=sum(part.idle_joules for part in parts),
        host_joules=sum(part.host_joules for part in parts),
        error_joules=sum(part.error_joules for part in parts),
        saved_joules=sum(part.saved_joules for part in parts),
        saved_error_joules=sum(part.saved_error_joules for part in parts),
        possible_joules=sum(part.possible_joules for part in parts),
        dram_joules=_add_known([part.dram_joules for part in parts]),
        psys_joules=_add_known([part.psys_joules for part in parts]),
        is_static_calibrated=all(part.is_static_calibrated for part in parts),
        hole=next((part.hole for part in parts if part.hole), ""),
    )


def _add_known(values: list[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return sum(known) if known else None
