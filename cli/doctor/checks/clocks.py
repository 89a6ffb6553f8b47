"""What somebody has set, and what it takes away from guests."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cli.doctor.checks.drivers import USERSPACE
from cli.doctor.examination import check
from cli.doctor.facts.cpus import Cpus, Policy
from cli.doctor.facts.rivals import Rivals
from cli.doctor.finding import info, warning
from orchestrator.values.cpuset import format_cpulist
from orchestrator.values.units import format_khz

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from cli.doctor.finding import Finding

_ALL = "100"


@check(Cpus)
def clock_floor_raised(cpus: Cpus) -> Iterator[Finding]:
    """Somebody allows no low clocks (scaling_min_freq), so that nothing is saved."""
    for khz, pcpus in _differing(cpus, lambda p: (p.min_khz, p.hardware_min_khz)):
        yield warning(
            f"CPU {format_cpulist(pcpus)}",
            f"the kernel allows no clock below {format_khz(khz)} (scaling_min_freq)",
            "find who raised it (TuneD, cpupower, a boot script); to undo it, write"
            " cpuinfo_min_freq to scaling_min_freq",
        )


@check(Cpus)
def clock_ceiling_lowered(cpus: Cpus) -> Iterator[Finding]:
    """Somebody allows no high clocks (scaling_max_freq)."""
    for khz, pcpus in _differing(cpus, lambda p: (p.max_khz, p.hardware_max_khz)):
        yield warning(
            f"CPU {format_cpulist(pcpus)}",
            f"the kernel allows no clock above {format_khz(khz)} (scaling_max_freq)",
            "find who lowered it (a power limit of the firmware does so too); to undo"
            " it, write cpuinfo_max_freq to scaling_max_freq",
        )


def _differing(
    cpus: Cpus, ends: Callable[[Policy], tuple[int | None, int | None]]
) -> Iterator[tuple[int, set[int]]]:
    """Collect CPUs whose allowed end is not the hardware's, by that end."""
    found: dict[int, set[int]] = {}
    for policy in cpus.policies:
        allowed, hardware = ends(policy)
        if allowed and hardware and allowed != hardware:
            found.setdefault(allowed, set()).update(policy.pcpus)
    yield from sorted(found.items())


@check(Cpus)
def min_perf_raised(cpus: Cpus) -> Iterator[Finding]:
    """intel_pstate lowers no clock, whatever is asked of it."""
    if cpus.switches.get("intel_pstate/min_perf_pct") == _ALL:
        yield warning(
            "intel_pstate",
            "min_perf_pct is 100: clocks never go down",
            "choose another profile of TuneD (latency-performance and"
            " throughput-performance set it), or write 0 to"
            " /sys/devices/system/cpu/intel_pstate/min_perf_pct",
        )


@check(Cpus)
def turbo_off(cpus: Cpus) -> Iterator[Finding]:
    """Turbo is switched off for the whole host."""
    if cpus.switches.get("intel_pstate/no_turbo") == "1":
        yield info("intel_pstate", "turbo is off for all CPUs (no_turbo is 1)")
    if cpus.switches.get("cpufreq/boost") == "0":
        yield info("cpufreq", "turbo is off for all CPUs (boost is 0)")


@check(Cpus, Rivals)
def governor_left_behind(cpus: Cpus, rivals: Rivals) -> Iterator[Finding]:
    """CPUs stand in `userspace` although nobody writes their clocks."""
    if rivals.holder is not None:
        return
    left = {n for p in cpus.policies if p.governor == USERSPACE for n in p.pcpus}
    if left:
        yield warning(
            f"CPU {format_cpulist(left)}",
            f"the governor is '{USERSPACE}', and no vmpowerd holds it: the clock stays"
            " where it was left",
            "vmpower restore, if there is a journal; else choose one:"
            " cpupower frequency-set -g schedutil",
        )
