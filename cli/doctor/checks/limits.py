# SPDX-License-Identifier: Apache-2.0
"""Frequency limits and governors that other programs have set."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Literal, NamedTuple

from cli.doctor.checks.drivers import USERSPACE
from cli.doctor.checks.firmware import is_turbo_hidden
from cli.doctor.diagnosis import check, info, warning
from cli.doctor.facts.cpus import CpufreqPolicy, Cpus
from cli.doctor.facts.daemon import Status
from cli.doctor.facts.domains import Domains
from cli.doctor.facts.kernel import Kernel
from cli.doctor.facts.power_managers import PowerManagers
from orchestrator.values.cpuset import format_cpulist
from orchestrator.values.units import format_khz

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from cli.doctor.diagnosis import Finding

_ALL_PERCENT = 100
_PERF_PCT = "/sys/devices/system/cpu/intel_pstate"


class _Limits(NamedTuple):
    """A limit of a cpufreq policy."""

    allowed_khz: int | None
    """By the kernel now."""
    hardware_khz: int | None
    known_khz: frozenset[int | None]
    """As vmpowerd has set it, or for a reason that another check reports."""


def _lower_limits(cpus: Cpus, policy: CpufreqPolicy) -> _Limits:
    by_percent = _khz_by_percent(cpus, policy, "min")
    known = frozenset({policy.held_min_khz, by_percent})
    return _Limits(policy.min_khz, policy.hardware_min_khz, known)


def _upper_limits(cpus: Cpus, policy: CpufreqPolicy) -> _Limits:
    by_percent = _khz_by_percent(cpus, policy, "max")
    known = {policy.held_max_khz, by_percent, policy.bios_limit_khz}
    group = cpus.topology.group(policy.number)
    if group is not None and cpus.is_turbo_off(policy):
        known.add(group.steps.nominal_khz)
    return _Limits(policy.max_khz, policy.hardware_max_khz, frozenset(known))


def _khz_by_percent(
    cpus: Cpus, policy: CpufreqPolicy, end: Literal["min", "max"]
) -> int | None:
    """Return what intel_pstate's percentage makes of the highest frequency."""
    percent = cpus.perf_pct(end)
    if percent is None or not policy.hardware_max_khz or not policy.is_intel_pstate:
        return None
    return policy.hardware_max_khz * percent // 100


@check(Cpus)
def clock_floor_raised(cpus: Cpus) -> Iterator[Finding]:
    """The kernel allows no low frequencies (scaling_min_freq): no power is saved."""
    for khz, pcpus in _restricted(cpus, _lower_limits):
        yield warning(
            f"CPU {format_cpulist(pcpus)}",
            f"scaling_min_freq is {format_khz(khz)}: the kernel allows no lower"
            " frequency",
            "find what raised it (TuneD, cpupower, a boot script); to undo it, write"
            " cpuinfo_min_freq to scaling_min_freq",
        )


@check(Cpus)
def clock_ceiling_lowered(cpus: Cpus) -> Iterator[Finding]:
    """The kernel allows no high frequencies (scaling_max_freq)."""
    for khz, pcpus in _restricted(cpus, _upper_limits):
        yield warning(
            f"CPU {format_cpulist(pcpus)}",
            f"scaling_max_freq is {format_khz(khz)}: the kernel allows no higher"
            " frequency",
            "find what lowered it (possibly a power limit of the firmware); to undo"
            " it, write cpuinfo_max_freq to scaling_max_freq",
        )


def _restricted(
    cpus: Cpus, limits: Callable[[Cpus, CpufreqPolicy], _Limits]
) -> list[tuple[int, set[int]]]:
    """Group CPUs whose limit is neither the hardware's nor known, by it."""

    def khz_of(policy: CpufreqPolicy) -> int | None:
        allowed, hardware, known = limits(cpus, policy)
        is_known = not hardware or allowed == hardware or allowed in known
        return None if is_known else allowed

    return cpus.by_frequency(khz_of)


@check(Cpus)
def min_perf_raised(cpus: Cpus) -> Iterator[Finding]:
    """intel_pstate does not use low frequencies (min_perf_pct)."""
    percent = cpus.perf_pct("min")
    lowest = [_lowest_percent(it) for it in cpus.policies if it.is_intel_pstate]
    if percent is None or not lowest or percent <= max(lowest):
        return
    what = f"no frequency below {_share(cpus, 'min')} is used"
    if percent == _ALL_PERCENT:
        what = "frequencies are never lowered"
    yield warning(
        "intel_pstate",
        f"min_perf_pct is {percent}: {what}{_unseen(cpus, 'scaling_min_freq')}",
        "choose another TuneD profile (latency-performance and"
        " throughput-performance set it), or write 0 to"
        f" {_PERF_PCT}/min_perf_pct",
    )


@check(Cpus)
def max_perf_lowered(cpus: Cpus) -> Iterator[Finding]:
    """intel_pstate does not use high frequencies (max_perf_pct)."""
    percent = cpus.perf_pct("max")
    if percent is not None and percent < _ALL_PERCENT:
        yield warning(
            "intel_pstate",
            f"max_perf_pct is {percent}: no frequency above {_share(cpus, 'max')} is"
            f" used{_unseen(cpus, 'scaling_max_freq')}",
            "find what lowered it (TuneD, thermald on a hot CPU, a script); to undo it,"
            f" write 100 to {_PERF_PCT}/max_perf_pct",
        )


def _lowest_percent(policy: CpufreqPolicy) -> int:
    """Return the min_perf_pct with which the driver starts: that of its lowest step."""
    if not policy.hardware_min_khz or not policy.hardware_max_khz:
        return _ALL_PERCENT
    return math.ceil(policy.hardware_min_khz * 100 / policy.hardware_max_khz)


def _share(cpus: Cpus, end: Literal["min", "max"]) -> str:
    """Describe a percentage of the highest frequency: `66 % of 3.60 GHz`."""
    highest = {it.hardware_max_khz for it in cpus.policies if it.is_intel_pstate}
    of = "the highest"
    if len(highest) == 1 and (khz := highest.pop()) and not cpus.is_intel_turbo_off:
        of = format_khz(khz)
    return f"{cpus.perf_pct(end)} % of {of}"


def _unseen(cpus: Cpus, name: str) -> str:
    is_active = cpus.switches.get("intel_pstate/status") == "active"
    return f", and {name} does not show it in the mode active" if is_active else ""


@check(Cpus, Kernel)
def turbo_off(cpus: Cpus, kernel: Kernel) -> Iterator[Finding]:
    """Turbo is disabled for the whole host."""
    if cpus.is_intel_turbo_off and not is_turbo_hidden(cpus, kernel):
        yield info("intel_pstate", "turbo is disabled for all CPUs (no_turbo is 1)")
    if cpus.switches.get("cpufreq/boost") == "0":
        yield info("cpufreq", "turbo is disabled for all CPUs (boost is 0)")


@check(Status, Cpus)
def turbo_beyond_limits(status: Status, cpus: Cpus) -> Iterator[Finding]:
    """Turbo is forbidden, but no limit prevents it: it is not a step of the table.

    AMD's processors boost above their highest P-state by themselves.
    """
    boosting = dict(_find_boosting(cpus))
    for domain in status.document["domains"]:
        rights = domain["rights"]
        if rights is None or rights["turbo"]["value"]:
            continue
        highest = rights["max_khz"]["value"]
        groups = {vcpu["clock_group"] for vcpu in domain["vcpus"]}
        found = [
            policy
            for number, (policy, step) in sorted(boosting.items())
            if number in groups and (highest is None or highest >= step)
        ]
        if found:
            pcpus = [pcpu for policy in found for pcpu in policy.pcpus]
            file = "/sys/devices/system/cpu/cpufreq/boost, which is for all CPUs"
            if found[0].boost:
                file = f"/sys/devices/system/cpu/cpufreq/policy{found[0].number}/boost"
            yield warning(
                f"domain {domain['name']}",
                f"turbo is not allowed, but CPU {format_cpulist(pcpus)} boosts above"
                " the highest step of its table by itself, whatever is set",
                f"echo 0 > {file}",
            )


def _find_boosting(cpus: Cpus) -> Iterator[tuple[int, tuple[CpufreqPolicy, int]]]:
    """Find CPUs with turbo that is not a step; with the step at which it happens."""
    groups = {group.number: group for group in cpus.topology.groups}
    for policy in cpus.policies:
        group = groups.get(policy.number)
        switch = policy.boost or cpus.switches.get("cpufreq/boost")
        if group is None or switch != "1" or group.steps.has_turbo:
            continue
        highest = group.steps.highest_khz
        if (policy.hardware_max_khz or 0) > highest:
            yield policy.number, (policy, highest)


@check(Domains, Cpus)
def governor_tunables_lost(domains: Domains, cpus: Cpus) -> Iterator[Finding]:
    """A governor's tunables are reset once guests have taken all of its CPUs."""
    used = {g for it in domains.managed() for vcpu in it.vcpus for g in vcpu.groups}
    for governor in sorted(cpus.shared_tunables):
        policies = [it for it in cpus.policies if it.governor == governor and it.pcpus]
        if policies and all(policy.number in used for policy in policies):
            pcpus = (pcpu for policy in policies for pcpu in policy.pcpus)
            yield info(
                f"governor {governor}",
                f"guests can take all of its CPUs ({format_cpulist(pcpus)}): the kernel"
                f" then resets {governor}'s tunables to its defaults",
                f"keep a CPU without guests in {governor}, or write the tunables again"
                " after vmpowerd has restored the governor",
            )


@check(Cpus, PowerManagers)
def governor_left_behind(
    cpus: Cpus, power_managers: PowerManagers
) -> Iterator[Finding]:
    """CPUs have the governor `userspace`, but no daemon writes their frequencies."""
    if power_managers.holder is not None:
        return
    left = {n for p in cpus.policies if p.governor == USERSPACE for n in p.pcpus}
    if left:
        yield warning(
            f"CPU {format_cpulist(left)}",
            f"the governor is '{USERSPACE}', but no vmpowerd has taken them: the"
            " frequency does not change",
            "vmpower restore, if there is a restore journal; otherwise choose a"
            " governor: cpupower frequency-set -g schedutil",
        )
