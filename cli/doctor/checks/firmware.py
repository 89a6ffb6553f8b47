# SPDX-License-Identifier: Apache-2.0
"""Limits that the firmware sets.

Source: drivers/cpufreq/{acpi-cpufreq,intel_pstate}.c and drivers/acpi/cppc_acpi.c of
the kernel; ACPI (_PPC, _CPC); Intel's Software Developer's Manual, volume 4, on
IA32_MISC_ENABLE: with turbo disabled there, the CPU does not report it (flag `ida`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from cli.doctor.diagnosis import check, info, warning
from cli.doctor.facts.cpus import CpufreqPolicy, Cpus
from cli.doctor.facts.kernel import Kernel
from orchestrator.values.cpuset import format_cpulist
from orchestrator.values.frequencies import TURBO_MARK_KHZ
from orchestrator.values.units import format_khz

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from cli.doctor.diagnosis import Finding
    from orchestrator.power.group import ClockGroup

_INTEL_TURBO = "ida"


@check(Cpus)
def firmware_limits(cpus: Cpus) -> Iterator[Finding]:
    """The firmware permits no high P-states (bios_limit)."""
    for khz, pcpus in _limited(cpus, _bios_limit):
        yield warning(
            f"CPU {format_cpulist(pcpus)}",
            f"bios_limit is {format_khz(khz)}: the firmware permits no higher"
            " frequency",
            "check the power limits and the power supplies in the firmware setup or in"
            " the management controller",
        )


@check(Cpus)
def firmware_guarantees_less(cpus: Cpus) -> Iterator[Finding]:
    """The firmware does not guarantee the nominal frequency (acpi_cppc)."""
    for khz, pcpus in _limited(cpus, _guaranteed):
        yield info(
            f"CPU {format_cpulist(pcpus)}",
            f"the firmware guarantees no more than {format_khz(khz)}"
            " (acpi_cppc/guaranteed_perf), less than nominal",
            "check the power limits in the firmware setup or in the management"
            " controller",
        )


@check(Cpus, Kernel)
def turbo_disabled_by_firmware(cpus: Cpus, kernel: Kernel) -> Iterator[Finding]:
    """The firmware has disabled turbo: the kernel cannot enable it."""
    if is_turbo_hidden(cpus, kernel):
        has_turbo = cpus.switches.get("intel_pstate/turbo_pct", "0") != "0"
        why = "the firmware has disabled it" if has_turbo else "it has none, or the"
        if not has_turbo:
            why += " firmware has disabled it"
        yield info(
            "intel_pstate",
            f"the CPU does not report turbo (flag '{_INTEL_TURBO}'): {why}, and the"
            " kernel refuses to write 0 to no_turbo",
            "enable turbo in the firmware setup ('Turbo Boost', 'Turbo Mode')",
        )


def is_turbo_hidden(cpus: Cpus, kernel: Kernel) -> bool:
    """Whether CPUs of intel_pstate report no turbo; the flags are of real CPUs."""
    if cpus.is_simulated:
        return False
    has_flag = not kernel.cpu_flags or _INTEL_TURBO in kernel.cpu_flags
    return not has_flag and any(it.is_intel_pstate for it in cpus.policies)


def _limited(
    cpus: Cpus, limit: Callable[[CpufreqPolicy, ClockGroup], int | None]
) -> list[tuple[int, set[int]]]:
    """Group CPUs that the firmware limits, by the limit."""

    def khz_of(policy: CpufreqPolicy) -> int | None:
        group = cpus.topology.group(policy.number)
        return None if group is None else limit(policy, group)

    return cpus.by_frequency(khz_of)


def _bios_limit(policy: CpufreqPolicy, group: ClockGroup) -> int | None:
    """Return a limit below the highest P-state: a boost of the hardware is none."""
    steps, khz = group.steps, policy.bios_limit_khz
    is_marked = steps.highest_khz == steps.nominal_khz + TURBO_MARK_KHZ
    highest = steps.highest_khz if is_marked else steps.nominal_khz
    return khz if khz is not None and khz < highest else None


def _guaranteed(policy: CpufreqPolicy, group: ClockGroup) -> int | None:
    """Return the guaranteed frequency, if it is below nominal."""
    guaranteed, nominal = (
        policy.cppc.get(f"{name}_perf", 0) for name in ("guaranteed", "nominal")
    )
    if not 0 < guaranteed < nominal:
        return None
    return group.steps.nominal_khz * guaranteed // nominal
