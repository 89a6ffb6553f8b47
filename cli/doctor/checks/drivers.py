"""Scaling drivers: which clocks can be set at all, and how the kernel would let us.

Source: Documentation/admin-guide/pm/{intel_pstate,amd-pstate}.rst of the kernel
(operation modes, command line, status files).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from cli.doctor.examination import check
from cli.doctor.facts.cpus import Cpus, Policy
from cli.doctor.facts.kernel import Kernel
from cli.doctor.finding import error, warning
from orchestrator.power.drivers.registry import DRIVERS
from orchestrator.power.topology import NO_CPUFREQ
from orchestrator.values.cpuset import format_cpulist

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

    from cli.doctor.finding import Finding

USERSPACE = "userspace"


@dataclass(frozen=True, slots=True)
class Way:
    """How to get from a scaling driver to another one."""

    driver: str
    """The one that it leads to."""
    parameter: str
    """For the kernel's command line."""
    command: str = ""
    """To have it until the next boot; empty: not without one."""


_CPU_DIR = "/sys/devices/system/cpu"
_AMD = f"{_CPU_DIR}/amd_pstate/status"
_INTEL = f"{_CPU_DIR}/intel_pstate/status"
_INTEL_OFF = Way("acpi-cpufreq", "intel_pstate=disable")
_AMD_OFF = Way("acpi-cpufreq", "amd_pstate=disable")
_AMD_PASSIVE = Way("amd-pstate", "amd_pstate=passive", f"echo passive > {_AMD}")
WAYS: dict[str, tuple[Way, ...]] = {
    "intel_pstate": (
        Way("intel_cpufreq", "intel_pstate=passive", f"echo passive > {_INTEL}"),
        _INTEL_OFF,
    ),
    "intel_cpufreq": (_INTEL_OFF,),
    "amd-pstate-epp": (_AMD_PASSIVE, _AMD_OFF),
    "amd-pstate": (_AMD_OFF,),
}
"""From each driver, the best way first; those that lead to what we cannot use count
for nothing."""


def find_way(driver: str, known: Collection[str]) -> Way | None:
    """Find the best way from a driver to one of those that are known."""
    return next((way for way in WAYS.get(driver, ()) if way.driver in known), None)


@check(Cpus)
def driver_unusable(cpus: Cpus) -> Iterator[Finding]:
    """Clocks that vmpower cannot set, because of their scaling driver."""
    for driver, pcpus in _by_driver(cpus).items():
        if driver and driver not in DRIVERS:
            yield error(
                f"CPU {format_cpulist(pcpus)}",
                f"scaling driver {driver} sets its clock by itself, vmpower cannot",
                _cure(driver),
            )


def _by_driver(cpus: Cpus) -> dict[str, set[int]]:
    found: dict[str, set[int]] = {}
    for policy in cpus.policies:
        found.setdefault(policy.driver, set()).update(policy.pcpus)
    return {driver: pcpus for driver, pcpus in found.items() if pcpus}


def _cure(driver: str) -> str:
    way = find_way(driver, DRIVERS)
    if way is None:
        known = ", ".join(sorted(DRIVERS))
        return f"vmpower can use {known}; leave these CPUs to the kernel"
    cure = f"boot with '{way.parameter}' on the kernel's command line"
    if way.command:
        cure += f", or until then: {way.command}"
    return f"{cure}; the driver is then {way.driver}"


@check(Cpus, Kernel)
def no_cpufreq(cpus: Cpus, kernel: Kernel) -> Iterator[Finding]:
    """CPUs for which the kernel has no scaling driver."""
    pcpus = {n for n, why in cpus.topology.unmanaged.items() if why == NO_CPUFREQ}
    if pcpus:
        what = "the kernel has no scaling driver: the clock cannot be set"
        if kernel.is_virtual:
            what = "this is a virtual machine: its clocks are set by its host"
        yield error(f"CPU {format_cpulist(pcpus)}", what, _cure_of_none(kernel))


def _cure_of_none(kernel: Kernel) -> str:
    if kernel.is_virtual:
        return "run vmpowerd on the host; to try it here: vmpower simulate DIR --cpus 8"
    if kernel.parameters.get("cpufreq.off") == "1":
        return "take 'cpufreq.off=1' off the kernel's command line"
    return (
        "modprobe acpi-cpufreq; if it finds no device, let the firmware leave P-states"
        " to the operating system (often 'OS control' or 'EIST')"
    )


@check(Cpus, Kernel)
def governor_missing(cpus: Cpus, kernel: Kernel) -> Iterator[Finding]:
    """The governor that obeys written clocks is neither there nor to be loaded."""
    lacking = {
        pcpu
        for policy in cpus.policies
        if _needs_userspace(policy) and kernel.has_userspace_module is False
        for pcpu in policy.pcpus
    }
    if lacking:
        yield error(
            f"CPU {format_cpulist(lacking)}",
            f"kernel {kernel.release} has no governor '{USERSPACE}'",
            "install the kernel's extra modules, or a kernel with"
            " CONFIG_CPU_FREQ_GOV_USERSPACE",
        )


def _needs_userspace(policy: Policy) -> bool:
    return (
        policy.driver in DRIVERS
        and bool(policy.governors)
        and USERSPACE not in policy.governors
        and policy.driver not in ("intel_pstate", "amd-pstate-epp")
    )


@check(Cpus)
def drivers_mixed(cpus: Cpus) -> Iterator[Finding]:
    """CPUs of one host have different scaling drivers."""
    found = {driver: n for driver, n in _by_driver(cpus).items() if driver}
    if len(found) > 1:
        words = ", ".join(f"{d} (CPU {format_cpulist(n)})" for d, n in found.items())
        yield warning(
            "scaling drivers",
            f"they differ: {words}",
            "pin the vCPUs of one domain to CPUs of one driver",
        )
