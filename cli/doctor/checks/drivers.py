# SPDX-License-Identifier: Apache-2.0
"""Scaling drivers: which frequencies can be set, and with which driver they could be.

Source: Documentation/admin-guide/pm/{intel_pstate,amd-pstate}.rst of the kernel
(operation modes, command line, status files).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from cli.doctor.diagnosis import check, error, warning
from cli.doctor.facts.cpus import CpufreqPolicy, Cpus
from cli.doctor.facts.kernel import Kernel
from orchestrator.power.drivers.registry import DRIVERS
from orchestrator.power.topology import NO_CPUFREQ
from orchestrator.values.cpuset import format_cpulist

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

    from cli.doctor.diagnosis import Finding

USERSPACE = "userspace"
AUTONOMOUS_DRIVERS = frozenset({"intel_pstate", "amd-pstate-epp"})
"""Drivers in active mode: without the governor `userspace`. The others have it, whether
vmpower supports them or not."""


@dataclass(frozen=True, slots=True)
class DriverSwitch:
    """How to switch from one scaling driver to another."""

    driver: str
    """The new driver."""
    parameter: str
    """For the kernel's command line."""
    command: str = ""
    """For the running kernel; empty: needs a reboot."""


_CPU_DIR = "/sys/devices/system/cpu"
_AMD = f"{_CPU_DIR}/amd_pstate/status"
_INTEL = f"{_CPU_DIR}/intel_pstate/status"
_INTEL_OFF = DriverSwitch("acpi-cpufreq", "intel_pstate=disable")
_AMD_OFF = DriverSwitch("acpi-cpufreq", "amd_pstate=disable")
_AMD_PASSIVE = DriverSwitch(
    "amd-pstate", "amd_pstate=passive", f"echo passive > {_AMD}"
)
DRIVER_SWITCHES: dict[str, tuple[DriverSwitch, ...]] = {
    "intel_pstate": (
        DriverSwitch(
            "intel_cpufreq", "intel_pstate=passive", f"echo passive > {_INTEL}"
        ),
        _INTEL_OFF,
    ),
    "intel_cpufreq": (_INTEL_OFF,),
    "amd-pstate-epp": (_AMD_PASSIVE, _AMD_OFF),
    "amd-pstate": (_AMD_OFF,),
}
"""By the current driver, the best first; some lead to drivers without support here."""


def find_switch(driver: str, supported: Collection[str]) -> DriverSwitch | None:
    """Find the best switch from a driver to a supported one."""
    return next(
        (
            switch
            for switch in DRIVER_SWITCHES.get(driver, ())
            if switch.driver in supported
        ),
        None,
    )


@check(Cpus)
def driver_unusable(cpus: Cpus) -> Iterator[Finding]:
    """CPUs whose scaling driver vmpower does not support."""
    for driver, pcpus in _by_driver(cpus).items():
        if driver and driver not in DRIVERS:
            what = f"vmpower does not support the scaling driver {driver}"
            if driver in AUTONOMOUS_DRIVERS:
                what += ", which chooses frequencies itself"
            yield error(f"CPU {format_cpulist(pcpus)}", what, _fix(driver))


def _by_driver(cpus: Cpus) -> dict[str, set[int]]:
    found: dict[str, set[int]] = {}
    for policy in cpus.policies:
        found.setdefault(policy.driver, set()).update(policy.pcpus)
    return {driver: pcpus for driver, pcpus in found.items() if pcpus}


def _fix(driver: str) -> str:
    switch = find_switch(driver, DRIVERS)
    if switch is None:
        supported = ", ".join(sorted(DRIVERS))
        return f"leave these CPUs to the kernel; vmpower supports {supported}"
    fix = f"boot with '{switch.parameter}' on the kernel command line"
    if switch.command:
        fix += f", or until the next boot: {switch.command}"
    fix += f"; the driver is then {switch.driver}"
    if switch in (_INTEL_OFF, _AMD_OFF):
        fix += ", or none if the firmware describes no P-states"
    return fix


@check(Cpus, Kernel)
def no_cpufreq(cpus: Cpus, kernel: Kernel) -> Iterator[Finding]:
    """CPUs without a scaling driver."""
    pcpus = {n for n, why in cpus.topology.unmanaged.items() if why == NO_CPUFREQ}
    if pcpus:
        what = "the kernel has no scaling driver for it: no frequency can be set"
        if kernel.is_virtual:
            what = "this is a virtual machine: the host sets its frequencies"
        yield error(f"CPU {format_cpulist(pcpus)}", what, _fix_without_driver(kernel))


def _fix_without_driver(kernel: Kernel) -> str:
    if kernel.is_virtual:
        return "run vmpowerd on the host; to try it here: vmpower simulate DIR --cpus 8"
    if kernel.parameters.get("cpufreq.off") == "1":
        return "remove 'cpufreq.off=1' from the kernel command line"
    return (
        "modprobe acpi-cpufreq; if it finds no device, let the operating system"
        " control P-states in the firmware setup (often 'OS control' or 'EIST')"
    )


@check(Cpus, Kernel)
def governor_missing(cpus: Cpus, kernel: Kernel) -> Iterator[Finding]:
    """The governor `userspace` is neither available nor a module."""
    affected = {
        pcpu
        for policy in cpus.policies
        if _needs_userspace(policy) and kernel.has_userspace_module is False
        for pcpu in policy.pcpus
    }
    if affected:
        yield error(
            f"CPU {format_cpulist(affected)}",
            f"kernel {kernel.release} has no governor '{USERSPACE}'",
            "install the kernel's extra modules, or a kernel with"
            " CONFIG_CPU_FREQ_GOV_USERSPACE",
        )


def _needs_userspace(policy: CpufreqPolicy) -> bool:
    return (
        policy.driver in DRIVERS
        and bool(policy.governors)
        and USERSPACE not in policy.governors
        and policy.driver not in AUTONOMOUS_DRIVERS
    )


@check(Cpus)
def drivers_mixed(cpus: Cpus) -> Iterator[Finding]:
    """CPUs of the host have different scaling drivers."""
    found = {driver: n for driver, n in _by_driver(cpus).items() if driver}
    if len(found) > 1:
        drivers = ", ".join(f"{d} (CPU {format_cpulist(n)})" for d, n in found.items())
        yield warning(
            "scaling drivers",
            f"not all the same: {drivers}",
            "pin the vCPUs of a domain to CPUs with the same driver",
        )
