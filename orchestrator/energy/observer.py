# SPDX-License-Identifier: Apache-2.0
"""From samples of counters and grants to what happened on the host in an interval.

Theory of operation: a thread's energy depends on the frequency of its core while it
ran. For a taken clock group that is its grant, unless the hardware does not reach it:
for heat, or because turbo is for a few cores only. So now and then the frequency that
the kernel measured is compared with the grant. A lower one is the package's **ceiling**
until a group gets more again. It limits what is compared, too: a step that the hardware
would not have reached saves nothing. For other clock groups the measured frequency
counts, and what they save is not vmpower's.

For how long each step was granted is known exactly; see `grants`.
"""

from __future__ import annotations

import functools
from collections import defaultdict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

from orchestrator.energy.attribution import Observation
from orchestrator.energy.grants import find_fastest, follow
from orchestrator.energy.residency import (
    Activity,
    ClockShare,
    MeterSource,
    ThreadRun,
    account,
    classify,
)
from orchestrator.values.units import MAX_KHZ

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from orchestrator.energy.attribution import Package
    from orchestrator.energy.grants import GroupSample, Timeline
    from orchestrator.energy.meters import MeterInterval
    from orchestrator.values.domain import DomainId

_REACHED = 0.97
"""A measured frequency below this share of the grant is lower than granted; the kernel
measures over some milliseconds."""
_NO_CEILING = MAX_KHZ
NS_PER_S = 1_000_000_000
_MOST_LATE_NS = 2 * NS_PER_S
"""CPUs without clock ticks (nohz_full) are counted once a second."""


class VCpuPlan(NamedTuple):
    """Where a vCPU runs."""

    group: int | None
    """Its clock group; None: it floats."""
    clock_groups: tuple[int, ...]
    """The clock groups that decide the frequency of its core: its own, and those whose
    CPUs the hardware coordinates with it; all that it floats over."""
    core: int | None
    """The lowest CPU of the only core that it may run on."""
    highest_khz: int
    """The highest step that it may have; 0: unknown."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DomainPlan:
    """Where the threads of a running domain run."""

    vcpus: Mapping[int, VCpuPlan]
    is_enforced: bool
    """Whether its votes count."""
    other_groups: tuple[int, ...] = ()
    """Clock groups that its other threads run on; empty: all."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HostPlan:
    """What runs where; it changes with domains and CPUs, not with time."""

    packages: Mapping[int, Package]
    domains: Mapping[DomainId, DomainPlan]
    cpus: int
    """How many are online."""


@dataclass(frozen=True, slots=True)
class ThreadTimes:
    """For how long the threads of a QEMU process have run; nanoseconds."""

    vcpus: Mapping[int, int]
    others: int
    """Emulator and I/O threads, and all others."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """All counters of a host at a time."""

    at_s: float
    """Monotonic."""
    wall_s: float
    """Seconds since the epoch, UTC."""
    grants_ns: int
    """When (monotonic) the grants were read."""
    groups: Mapping[int, GroupSample]
    times: Mapping[DomainId, ThreadTimes]
    votes_khz: Mapping[tuple[DomainId, int], int] = field(default_factory=dict)
    """By domain and vCPU; those that have a vote."""
    idle_s: float | None = None
    """For how long the CPUs have been idle, all together; None: unknown."""


class Observer:
    """Compares samples.

    Synchronization: one thread.
    """

    def __init__(self, plan: HostPlan) -> None:
        self._last: Sample | None = None
        self._ceilings: dict[int, int] = {}
        self._late_ns: dict[tuple[DomainId, int], int] = {}
        """Run times that were counted in an interval that was too short for them."""
        self.busy_groups: frozenset[int] = frozenset()
        """Clock groups with a vCPU that polled in the last interval."""
        self.replan(plan)

    def replan(self, plan: HostPlan) -> None:
        """Note that domains or CPUs have changed."""
        self.plan = plan
        self._late_ns = {
            key: ns for key, ns in self._late_ns.items() if key[0] in plan.domains
        }
        self._package_of = {
            group: number
            for number, package in plan.packages.items()
            for group in package.groups
        }
        users: dict[int, list[tuple[DomainId, int, VCpuPlan]]] = {}
        for uuid, domain in plan.domains.items():
            for vcpu, place in domain.vcpus.items():
                if place.group is not None:
                    users.setdefault(place.group, []).append((uuid, vcpu, place))
        self._users = users
        busy = users.keys()
        self.free_groups = tuple(sorted(self._package_of.keys() - busy))
        """Clock groups that no vCPU is pinned into."""

    @property
    def ceilings(self) -> Mapping[int, int]:
        """What the hardware reaches now, in kHz by package; left out: all steps."""
        return self._ceilings

    def observe(
        self,
        sample: Sample,
        meters: MeterInterval | None = None,
        source: MeterSource = MeterSource.MODELLED,
    ) -> Observation | None:
        """Compare a sample with the last one; None: there was none.

        Args:
            sample: the counters now.
            meters: what the meters counted since the last sample; None: no meters.
            source: of the meters' values.
        """
        last, self._last = self._last, sample
        if last is None or sample.at_s <= last.at_s:
            return None
        interval = _Interval(self, last, sample)
        found = interval.observation(meters, source)
        self.busy_groups = frozenset(interval.polled)
        return found

    def check_ceiling(self, group: int, granted_khz: int, measured_khz: int) -> None:
        """Compare what the cores of a busy clock group reached with their grant."""
        number = self._package_of.get(group)
        if number is None:
            return
        ceiling = self._ceilings.get(number)
        if measured_khz < granted_khz * _REACHED:
            self._ceilings[number] = measured_khz
        elif ceiling is not None and measured_khz > ceiling:
            del self._ceilings[number]

    def ceiling_of(self, group: int) -> int:
        """Return what the hardware reaches in a clock group now, in kHz."""
        if not self._ceilings:
            return _NO_CEILING
        return self._ceilings.get(self._package_of.get(group, -1), _NO_CEILING)

    def find_run(
        self, uuid: DomainId, vcpu: int, ran_ns: int, duration_s: float
    ) -> float:
        """Return for how many seconds a vCPU ran; what is counted late comes later.

        The kernel counts the time of a running thread at its clock ticks, so that of a
        vCPU that runs all the time it may count less in one interval, and more than
        the interval has in the next one.
        """
        late_ns = self._late_ns.get((uuid, vcpu), 0) + max(0, ran_ns)
        run_s = min(late_ns / NS_PER_S, duration_s)
        late_ns -= round(run_s * NS_PER_S)
        self._late_ns[uuid, vcpu] = min(late_ns, _MOST_LATE_NS)
        return run_s

    def users_of(self, group: int) -> list[tuple[DomainId, int, VCpuPlan]]:
        """Return the vCPUs that are pinned into a clock group."""
        return self._users.get(group, [])


class _Interval:
    """The time between two samples."""

    def __init__(self, observer: Observer, old: Sample, new: Sample) -> None:
        self._observer = observer
        self._plan = observer.plan
        self._old, self._new = old, new
        self._duration_s = new.at_s - old.at_s
        self._means: dict[tuple[int, ...], int] = {}
        self._timelines: dict[tuple[int, ...], Timeline] = {}
        self._is_exact = True
        self.polled: set[int] = set()

    def observation(
        self, meters: MeterInterval | None, source: MeterSource
    ) -> Observation:
        """Return what happened."""
        runs = list(self._runs())
        host_s = self._host_s(sum(run.run_s for run in runs))
        packages = self._plan.packages
        cores = sum(package.cores for package in packages.values())
        return Observation(
            start=self._old.wall_s,
            duration_s=self._duration_s,
            residency={
                **{uuid: {} for uuid in self._plan.domains},
                **account(runs, self._duration_s),
            },
            host_core_s={
                number: host_s * package.cores / cores
                for number, package in packages.items()
            },
            host_khz=self._mean_khz(self._observer.free_groups),
            meters=meters,
            source=source,
            run_s=_sum_by_domain(runs),
            by_core=_share_cores(runs, meters) if meters and meters.cores else {},
            is_exact=self._is_exact,
        )

    def _runs(self) -> Iterator[ThreadRun]:
        for uuid, domain in self._plan.domains.items():
            old, new = self._old.times.get(uuid), self._new.times.get(uuid)
            if old is None or new is None:
                # For a part of the interval, its threads count as the host's.
                self._is_exact &= old is new
                continue
            for vcpu, place in domain.vcpus.items():
                if vcpu not in old.vcpus:
                    continue
                ran_ns = new.vcpus.get(vcpu, 0) - old.vcpus[vcpu]
                run_s = self._observer.find_run(uuid, vcpu, ran_ns, self._duration_s)
                if run_s > 0:
                    activity = classify(run_s, self._duration_s)
                    if activity is Activity.POLL and place.group is not None:
                        self.polled.add(place.group)
                    yield ThreadRun(
                        uuid,
                        activity,
                        place.group,
                        place.core,
                        run_s,
                        self._find_clock(place, is_enforced=domain.is_enforced),
                    )
            if new.others > old.others:
                khz = self._mean_khz(domain.other_groups)
                clock = (ClockShare(1.0, khz, khz, khz),)
                run_s = (new.others - old.others) / NS_PER_S
                yield ThreadRun(uuid, Activity.OTHER, None, None, run_s, clock)

    def _host_s(self, domains_s: float) -> float:
        """Return the run time of threads of no domain."""
        if self._old.idle_s is None or self._new.idle_s is None:
            return 0.0
        idle_s = self._new.idle_s - self._old.idle_s
        return max(0.0, self._plan.cpus * self._duration_s - idle_s - domains_s)

    def _find_clock(
        self, place: VCpuPlan, *, is_enforced: bool
    ) -> tuple[ClockShare, ...]:
        if place.group is None:
            khz = self._mean_khz(place.clock_groups)
            return (ClockShare(1.0, khz, khz, khz),)
        group = place.group
        timeline = self._follow(place.clock_groups)
        sample = self._new.groups.get(group)
        is_ours = is_enforced and sample is not None and sample.khz is not None
        asked = 0 if is_ours else self._votes_in(group)
        ceiling = self._observer.ceiling_of(group)
        return _clock(timeline, place.highest_khz, asked, ceiling, is_ours=is_ours)

    def _follow(self, groups: tuple[int, ...]) -> Timeline:
        """Return the frequencies of a core that clock groups decide together."""
        found = self._timelines.get(groups)
        if found is None:
            old, new = self._old, self._new
            known = [
                (old.groups.get(it, new.groups[it]), new.groups[it])
                for it in groups
                if it in new.groups
            ]
            found = self._timelines[groups] = find_fastest(
                [follow(*pair, old.grants_ns, new.grants_ns) for pair in known]
            )
        return found

    def _votes_in(self, group: int) -> int:
        """Return the grant of a clock group if all votes counted; 0: unknown."""
        votes = self._new.votes_khz
        return max(
            (
                votes.get((uuid, vcpu)) or place.highest_khz
                for uuid, vcpu, place in self._observer.users_of(group)
            ),
            default=0,
        )

    def _mean_khz(self, groups: tuple[int, ...]) -> int:
        """Return the mean frequency of clock groups; of all if none is given."""
        found = self._means.get(groups)
        if found is None:
            samples = self._new.groups
            known = [samples[it].known_khz for it in groups or samples if it in samples]
            found = self._means[groups] = sum(known) // max(1, len(known))
        return found


@functools.lru_cache(maxsize=4_096)
def _clock(
    timeline: Timeline, highest: int, asked: int, ceiling: int, *, is_ours: bool
) -> tuple[ClockShare, ...]:
    """Return the shares of an interval, of frequencies in kHz."""
    reached: dict[int, float] = {}
    for share, khz in timeline:
        khz_reached = min(khz, ceiling)
        reached[khz_reached] = reached.get(khz_reached, 0.0) + share
    highest, asked = min(highest, ceiling), min(asked, ceiling)
    return tuple(
        ClockShare(share, khz, khz, max(khz, highest))
        if is_ours
        else ClockShare(share, khz, asked or khz, khz)
        for khz, share in reached.items()
    )


def _sum_by_domain(runs: Iterable[ThreadRun]) -> dict[DomainId, float]:
    run_s: dict[DomainId, float] = defaultdict(float)
    for run in runs:
        run_s[run.uuid] += run.run_s
    return dict(run_s)


def _share_cores(
    runs: Iterable[ThreadRun], meters: MeterInterval
) -> dict[DomainId, float]:
    """Return the joules of domains by the meters of single cores."""
    known = [run for run in runs if run.core is not None and run.core in meters.cores]
    busy_s: dict[int | None, float] = defaultdict(float)
    for run in known:
        busy_s[run.core] += run.run_s
    joules: dict[DomainId, float] = defaultdict(float)
    for run in known:
        assert run.core is not None  # noqa: S101 - chosen above
        joules[run.uuid] += meters.cores[run.core] * run.run_s / busy_s[run.core]
    return dict(joules)
