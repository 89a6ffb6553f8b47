# SPDX-License-Identifier: Apache-2.0
"""Scaling drivers: which frequencies can be set, and with which driver they could be.

Source: Documentation/admin-guide/pm/{intel_pstate,amd-pstate}.rst of the kernel
(operation modes, command line, status files).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from cli.doctor.diagnosis import check, error, warning
from cli.doctor.facts.cpus import CpufreqPolicy, Cpus
from cli.doctor.facts.kernel import Kernel
from orchestrator.power.topology import NO_CPUFREQ
from orchestrator.values.cpuset import format_cpulist

if TYPE_CHECKING:
    from collections.abc import Iterator

    from cli.doctor.diagnosis import Finding

USERSPACE = "userspace"


def _by_driver(cpus: Cpus) -> dict[str, set[int]]:
    found: dict[str, set[int]] = {}
    for policy in cpus.policies:
        found.setdefault(policy.driver, set()).update(policy.pcpus)
    return {driver: pcpus for driver, pcpus in found.items() if pcpus}


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
        if _needs_userspace(cpus, policy) and kernel.has_userspace_module is False
        for pcpu in policy.pcpus
    }
    if affected:
        yield error(
            f"CPU {format_cpulist(affected)}",
            f"kernel {kernel.release} has no governor '{USERSPACE}'",
            "install the kernel's extra modules, or a kernel with"
            " CONFIG_CPU_FREQ_GOV_USERSPACE",
        )


def _needs_userspace(cpus: Cpus, policy: CpufreqPolicy) -> bool:
    group = cpus.topology.group(policy.number)
    is_set_by_governor = group is not None and group.mechanism == "setspeed"
    return is_set_by_governor and USERSPACE not in policy.governors


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
