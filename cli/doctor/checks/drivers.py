# SPDX-License-Identifier: Apache-2.0
"""Scaling drivers: which frequencies can be set, and with which driver they could be.

Source: Documentation/admin-guide/pm/{intel_pstate,amd-pstate}.rst of the kernel
(operation modes, command line, status files).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from cli.doctor.diagnosis import check, error, warning
from cli.doctor.facts.acpi import AcpiTables
from cli.doctor.facts.cpus import CpufreqPolicy, Cpus
from cli.doctor.facts.kernel import Kernel
from orchestrator.power.topology import NO_CPUFREQ
from orchestrator.values.cpuset import format_cpulist

if TYPE_CHECKING:
    from collections.abc import Iterator

    from cli.doctor.diagnosis import Finding

USERSPACE = "userspace"
INTEL_DISABLED = "intel_pstate=disable"
_DISABLING = (INTEL_DISABLED, "amd_pstate=disable")


def _by_driver(cpus: Cpus) -> dict[str, set[int]]:
    found: dict[str, set[int]] = {}
    for policy in cpus.policies:
        found.setdefault(policy.driver, set()).update(policy.pcpus)
    return {driver: pcpus for driver, pcpus in found.items() if pcpus}


@check(Cpus, Kernel, AcpiTables)
def no_cpufreq(cpus: Cpus, kernel: Kernel, tables: AcpiTables) -> Iterator[Finding]:
    """CPUs without a scaling driver."""
    pcpus = {n for n, why in cpus.topology.unmanaged.items() if why == NO_CPUFREQ}
    if pcpus:
        what = "the kernel has no scaling driver for it: no frequency can be set"
        if kernel.is_virtual:
            what = "this is a virtual machine: the host sets its frequencies"
        fix = _fix_without_driver(kernel, tables)
        yield error(f"CPU {format_cpulist(pcpus)}", what, fix)


def _fix_without_driver(kernel: Kernel, tables: AcpiTables) -> str:
    if kernel.is_virtual:
        return "run vmpowerd on the host; to try it here, run 'vmpower try'"
    if kernel.parameters.get("cpufreq.off") == "1":
        return "remove 'cpufreq.off=1' from the kernel command line"
    if kernel.is_arm:
        return (
            "modprobe cppc_cpufreq; it needs firmware that describes CPPC in ACPI, so"
            " where there is a device tree, too, boot with 'acpi=force'"
        )
    if tables.has_p_states is False and (option := _disabling_option(kernel)):
        return f"remove '{option}' from the kernel command line"
    if tables.has_p_states is False and tables.has_cppc and kernel.is_amd:
        return "boot with 'amd_pstate=passive' on the kernel command line"
    control = (
        "let the operating system control P-states in the firmware setup (often 'OS"
        " control' or 'EIST')"
    )
    if tables.has_p_states is False:
        return f"{control}: the firmware describes none"
    if option := _disabling_option(kernel):
        control = f"remove '{option}' from the kernel command line"
    return f"modprobe acpi-cpufreq; if it finds no device, {control}"


def _disabling_option(kernel: Kernel) -> str:
    """Return the option that leaves acpi-cpufreq as the only driver; empty: none."""
    return next((it for it in _DISABLING if it in kernel.arguments), "")


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
