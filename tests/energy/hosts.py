# SPDX-License-Identifier: Apache-2.0
"""Synthetic hosts whose true power is known: what attributions are judged by.

The power of a core is that of the model in docs/energy.md: leakage, and frequency times
voltage². Meters count the packages with noise, and wrap every minute or so.
"""

from __future__ import annotations

import random
from collections import defaultdict
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from orchestrator.energy.attribution import Attribution, Calibration, Package
from orchestrator.energy.grants import GrantTimes, GroupSample
from orchestrator.energy.meters import MeterReading, Meters, Zone, ZoneKind
from orchestrator.energy.observer import (
    NS_PER_S,
    DomainPlan,
    HostPlan,
    Observer,
    Sample,
    ThreadTimes,
    VCpuPlan,
)
from orchestrator.energy.profiles import GENERIC, IDLE_CORE_W
from orchestrator.energy.residency import SMT_POWER, MeterSource, combine
from orchestrator.values.domain import DomainId

if TYPE_CHECKING:
    from orchestrator.energy.residency import EnergyInterval

STEPS = tuple(range(800_000, 3_200_001, 400_000))
HIGHEST = STEPS[-1]
STATIC_W = 45.0
POLLERS = ("fw", "nat", "dpi", "lb")
WEB = "web"
RANGE_JOULES = 6_553.6
NOISE_W = 0.5


def core_w(khz: int) -> float:
    """Return the true power of a core that polls."""
    ghz = khz / 1e6
    volts = 0.70 + 0.13 * max(ghz - 1.2, 0.0)
    return 1.15 * ghz * volts**2 * 1.45 + 0.35


@dataclass
class Thread:
    """A vCPU with a CPU to itself."""

    domain: str
    vcpu: int
    cpu: int
    core: int
    package: int
    duty: float
    khz: int
    """As granted."""
    activity: float = 1.0
    """Power relative to polling."""


@dataclass
class Truth:
    """What the domains drew and saved; joules."""

    drawn: dict[str, float] = field(default_factory=lambda: defaultdict(float))
    saved: dict[str, float] = field(default_factory=lambda: defaultdict(float))
    measured: float = 0.0
    busy_s: dict[str, float] = field(default_factory=lambda: defaultdict(float))
    """CPU time, by domain and of the host."""
    cycles: dict[str, float] = field(default_factory=lambda: defaultdict(float))


@dataclass(frozen=True)
class Host:
    """A kind of host."""

    name: str
    pollers: int = 4
    """Poll-mode domains with four vCPUs each."""
    web_vcpus: int = 8
    web_activity: float = 1.0
    """Power per cycle, relative to polling."""
    packages: int = 1
    is_smt: bool = False
    """Whether the vCPUs of a domain share cores in pairs."""
    cores: int = 32
    clamp_khz: int = HIGHEST
    """What the hardware reaches at most, from the middle of the run on."""
    static_error: float = 0.0
    """Relative error of the calibration."""


class Run:
    """One host over time, observed as the daemon observes it.

    It ends with what was attributed and what is true, in its second half: the first one
    is for learning.
    """

    def __init__(self, host: Host, intervals: int = 600, seed: int = 7) -> None:
        self._random = random.Random(seed)
        self.host = host
        self._threads = self._build_threads()
        self._counters = [5_000.0] * host.packages
        self._times: dict[str, dict[int, float]] = defaultdict(
            lambda: defaultdict(float)
        )
        self._granted_ns: dict[int, dict[int, int]] = defaultdict(
            lambda: dict.fromkeys(STEPS, 0)
        )
        """By CPU and step."""
        self._idle_s = 0.0
        self._half = intervals // 2
        self.judged = intervals - self._half
        self.truth = Truth()
        self.parts: list[EnergyInterval] = []
        packages = self._packages()
        self.observer = Observer(
            HostPlan(packages=packages, domains=self._plans(), cpus=self._cpus)
        )
        self._meters = Meters(
            Zone(
                name=f"package-{n}",
                kind=ZoneKind.PACKAGE,
                package=n,
                range_joules=RANGE_JOULES,
            )
            for n in range(host.packages)
        )
        static = dict.fromkeys(packages, STATIC_W * (1 + host.static_error))
        self.attribution = Attribution(packages, GENERIC, Calibration(static_w=static))
        self._observe(0)
        for number in range(1, intervals + 1):
            self._pass(number)
            self._observe(number)
        self.result = combine(self.parts)

    @property
    def _cpus(self) -> int:
        return self.host.cores * self.host.packages * (2 if self.host.is_smt else 1)

    def _place(self, index: int) -> tuple[int, int, int]:
        """Return CPU, core and package of the vCPU with an index."""
        host = self.host
        package = index // 4 % host.packages
        local = index // 4 // host.packages * 4 + index % 4
        if not host.is_smt:
            cpu = package * host.cores + local
            return cpu, cpu, package
        core = package * host.cores + local // 2
        sibling = core + host.cores * host.packages
        return (core if local % 2 == 0 else sibling), core, package

    def _build_threads(self) -> list[Thread]:
        host, threads = self.host, []
        wanted = [(POLLERS[n], v) for n in range(host.pollers) for v in range(4)]
        wanted += [(WEB, v) for v in range(host.web_vcpus)]
        for index, (domain, vcpu) in enumerate(wanted):
            cpu, core, package = self._place(index)
            is_web = domain == WEB
            activity = host.web_activity if is_web else 1.0
            threads.append(
                Thread(domain, vcpu, cpu, core, package, 1.0, HIGHEST, activity)
            )
        return threads

    def _packages(self) -> dict[int, Package]:
        host = self.host
        per = self._cpus // host.packages
        cpus: dict[int, set[int]] = {n: set() for n in range(host.packages)}
        for n in range(host.packages):
            first = n * host.cores
            cpus[n] |= set(range(first, first + host.cores))
            if host.is_smt:
                cpus[n] |= {cpu + host.cores * host.packages for cpu in cpus[n]}
            assert len(cpus[n]) == per
        return {
            n: Package(
                number=n,
                cores=host.cores,
                groups=frozenset(cpus[n]),
                steps_khz=STEPS,
            )
            for n in range(host.packages)
        }

    def _plans(self) -> dict[DomainId, DomainPlan]:
        by_core: dict[int, list[int]] = defaultdict(list)
        for thread in self._threads:
            by_core[thread.core].append(thread.cpu)
        plans: dict[DomainId, dict[int, VCpuPlan]] = defaultdict(dict)
        for it in self._threads:
            plans[DomainId(it.domain)][it.vcpu] = VCpuPlan(
                group=it.cpu,
                clock_groups=tuple(by_core[it.core]),
                core=it.core,
                highest_khz=HIGHEST,
            )
        return {
            uuid: DomainPlan(vcpus=vcpus, is_enforced=True)
            for uuid, vcpus in plans.items()
        }

    def _reached(self, khz: int, number: int) -> int:
        is_clamped = number > self._half
        return min(khz, self.host.clamp_khz) if is_clamped else khz

    def _choose(self, domain: str, khz: int, duty: float) -> int:
        """Return the next frequency of a domain: a walk, or by its load."""
        if domain == WEB:
            return STEPS[min(6, int(duty / 0.15))]
        if self.host.clamp_khz < HIGHEST and domain == POLLERS[0]:
            return HIGHEST  # whose requests show what the hardware reaches
        if self._random.random() < 0.03:
            at = STEPS.index(khz) + self._random.choice((-2, -1, 1, 2))
            return STEPS[min(6, max(0, at))]
        return khz

    def _pass(self, number: int) -> None:
        """Let a second pass: domains change frequencies within it."""
        before = {thread.cpu: thread.khz for thread in self._threads}
        by_domain: dict[str, int] = {}
        change_at = self._random.random()
        for thread in self._threads:
            if thread.domain == WEB:
                swing = 0.35 + 0.3 * ((number % 200) / 100 - 1)
                thread.duty = min(0.9, max(0.02, self._random.gauss(swing, 0.1)))
                thread.khz = self._choose(WEB, thread.khz, thread.duty)
            else:
                thread.khz = by_domain.setdefault(
                    thread.domain, self._choose(thread.domain, thread.khz, 1.0)
                )
        change_ns = round(change_at * NS_PER_S)
        for thread in self._threads:
            granted_ns = self._granted_ns[thread.cpu]
            granted_ns[before[thread.cpu]] += change_ns
            granted_ns[thread.khz] += NS_PER_S - change_ns
        drawn = [0.0] * self.host.packages
        for share, is_new in ((change_at, False), (1 - change_at, True)):
            khz = {
                it.cpu: self._reached(it.khz if is_new else before[it.cpu], number)
                for it in self._threads
            }
            self._draw(share, khz, drawn, number)
        busy: dict[int, float] = defaultdict(float)
        for it in self._threads:
            self._times[it.domain][it.vcpu] += it.duty
            busy[it.core] += it.duty
        cores = self.host.cores * self.host.packages
        asleep = sum(max(0.0, 1 - it) for it in busy.values()) + cores - len(busy)
        self._idle_s += self._cpus - sum(it.duty for it in self._threads)
        for package in range(self.host.packages):
            own = asleep / self.host.packages
            drawn[package] += STATIC_W + own * IDLE_CORE_W
            drawn[package] += self._random.gauss(0, NOISE_W)
            self._counters[package] += drawn[package]
        if number > self._half:
            self.truth.measured += sum(drawn)

    def _draw(
        self, share: float, khz: dict[int, int], drawn: list[float], number: int
    ) -> None:
        cores: dict[int, list[Thread]] = defaultdict(list)
        for thread in self._threads:
            cores[thread.core].append(thread)
        ceiling = self._reached(HIGHEST, number)
        for threads in cores.values():
            clock = max(khz[it.cpu] for it in threads)
            for it in threads:
                others = sum(other.duty for other in threads if other is not it)
                alone_s = share * it.duty * (1 - (1 - SMT_POWER / 2) * min(1.0, others))
                joules = alone_s * core_w(clock) * it.activity
                drawn[it.package] += joules
                if number <= self._half:
                    continue
                self.truth.drawn[it.domain] += joules
                self.truth.busy_s[it.domain] += share * it.duty
                self.truth.cycles[it.domain] += share * it.duty * clock
                stretch = 1.0 if it.domain != WEB else clock / ceiling
                at_highest = alone_s * stretch * core_w(ceiling) * it.activity
                at_highest += alone_s * (1 - stretch) * IDLE_CORE_W
                self.truth.saved[it.domain] += at_highest - joules

    def _times_of(self, cpu: int) -> GrantTimes:
        granted_ns = self._granted_ns[cpu]
        return GrantTimes(0, STEPS, 0, tuple(granted_ns[khz] for khz in STEPS))

    def _observe(self, number: int) -> None:
        for thread in self._threads:
            if number > self._half:
                reached = self._reached(thread.khz, number)
                self.observer.check_ceiling(thread.cpu, thread.khz, reached)
        reading = MeterReading(
            float(number),
            {
                f"package-{n}": joules % RANGE_JOULES
                for n, joules in enumerate(self._counters)
            },
        )
        sample = Sample(
            at_s=float(number),
            wall_s=1e9 + number,
            grants_ns=number * NS_PER_S,
            groups={
                it.cpu: GroupSample(it.khz, self._times_of(it.cpu), None)
                for it in self._threads
            },
            times={
                DomainId(domain): ThreadTimes(
                    {vcpu: round(run_s * 1e9) for vcpu, run_s in vcpus.items()}, 0
                )
                for domain, vcpus in self._times.items()
            },
            idle_s=self._idle_s,
        )
        seen = self.observer.observe(
            sample, self._meters.advance(reading), MeterSource.POWERCAP
        )
        if seen is not None:
            part = self.attribution.attribute(seen)
            if number > self._half:
                self.parts.append(part)


HOSTS = (
    Host("all domains poll", web_vcpus=0),
    Host("mixed"),
    Host("mixed, the other domain draws 40 % more per cycle", web_activity=1.4),
    Host("two threads per core", is_smt=True, cores=16),
    Host("two packages", packages=2, cores=16, web_activity=1.4),
    Host("idle but for one domain", pollers=1, web_vcpus=0),
    Host("thermal clamp to 2.4 GHz", clamp_khz=2_400_000),
)
WRONG_STATIC = tuple(
    replace(HOSTS[2], name=f"static wrong by {error:+.0%}", static_error=error)
    for error in (0.1, -0.1)
)
