# SPDX-License-Identifier: Apache-2.0
"""Frequency limits and governors that other programs have set."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from cli.doctor.checks.drivers import USERSPACE
from cli.doctor.diagnosis import check, info, warning
from cli.doctor.facts.cpus import CpufreqPolicy, Cpus
from cli.doctor.facts.daemon import Status
from cli.doctor.facts.domains import Domains
from cli.doctor.facts.power_managers import PowerManagers
from orchestrator.values.cpuset import format_cpulist
from orchestrator.values.units import format_khz

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from cli.doctor.diagnosis import Finding

_ALL_PERCENT = "100"


class _Limits(NamedTuple):
    """A limit of a cpufreq policy."""

    allowed_khz: int | None
    """By the kernel now."""
    hardware_khz: int | None
    held_khz: int | None
    """As vmpowerd has set it, which is no other program's."""


def _lower_limits(policy: CpufreqPolicy) -> _Limits:
    return _Limits(policy.min_khz, policy.hardware_min_khz, policy.held_min_khz)


def _upper_limits(policy: CpufreqPolicy) -> _Limits:
    return _Limits(policy.max_khz, policy.hardware_max_khz, policy.held_max_khz)


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
    cpus: Cpus, limits: Callable[[CpufreqPolicy], _Limits]
) -> Iterator[tuple[int, set[int]]]:
    """Group CPUs whose limit is neither the hardware's nor vmpowerd's, by it."""
    found: dict[int, set[int]] = {}
    for policy in cpus.policies:
        allowed, hardware, held = limits(policy)
        if allowed and hardware and allowed not in (hardware, held):
            found.setdefault(allowed, set()).update(policy.pcpus)
    yield from sorted(found.items())


@check(Cpus)
def min_perf_raised(cpus: Cpus) -> Iterator[Finding]:
    """intel_pstate never lowers frequencies."""
    if cpus.switches.get("intel_pstate/min_perf_pct") == _ALL_PERCENT:
        yield warning(
            "intel_pstate",
            "min_perf_pct is 100: frequencies are never lowered",
            "choose another TuneD profile (latency-performance and"
            " throughput-performance set it), or write 0 to"
            " /sys/devices/system/cpu/intel_pstate/min_perf_pct",
        )


@check(Cpus)
def turbo_off(cpus: Cpus) -> Iterator[Finding]:
    """Turbo is disabled for the whole host."""
    if cpus.switches.get("intel_pstate/no_turbo") == "1":
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
