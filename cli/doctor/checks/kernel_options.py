# SPDX-License-Identifier: Apache-2.0
"""Kernel options that choose the scaling driver and its mode.

vmpower works with every driver; another option is a trade, so that it is information.
None of the findings suggests `intel_pstate=disable`: where the firmware has enabled
HWP, the kernel ignores it, and elsewhere acpi-cpufreq has no more steps than
intel_pstate in the mode passive.

Source: Documentation/admin-guide/pm/{intel_pstate,amd-pstate}.rst of the kernel;
intel_pstate_init() and amd_pstate_init() of its source.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from cli.doctor.checks.drivers import INTEL_DISABLED
from cli.doctor.diagnosis import check, info
from cli.doctor.facts.acpi import AcpiTables
from cli.doctor.facts.cpus import CpufreqPolicy, Cpus
from cli.doctor.facts.kernel import Kernel
from cli.output.tables.cells import plural
from orchestrator.power.steps import STEP_KHZ
from orchestrator.values.cpuset import format_cpulist

if TYPE_CHECKING:
    from collections.abc import Iterator

    from cli.doctor.diagnosis import Finding

_CPU_DIR = "/sys/devices/system/cpu"
_ACPI = "acpi-cpufreq"
_AMD_ACTIVE = "amd-pstate-epp"
_AMD_DRIVERS = frozenset({"amd-pstate", _AMD_ACTIVE})
_AMD_MODES = {"passive": (5, 17), "active": (6, 3), "guided": (6, 4)}
"""First version of Linux with each mode."""
_NO_HWP = "intel_pstate=no_hwp"
_HWP, _CPPC = "hwp", "cppc"
"""Flags of CPUs: Intel's HWP, and AMD's CPPC in registers."""
_TWO_LIMITS = (
    "frequencies are set through two limits, which the kernel applies up to some"
    " milliseconds later"
)


@check(Cpus, Kernel, AcpiTables)
def kernel_option_available(
    cpus: Cpus, kernel: Kernel, tables: AcpiTables
) -> Iterator[Finding]:
    """Another kernel option would permit more, at a cost."""
    if cpus.is_simulated:
        return
    yield from _intel_passive(cpus, kernel, tables)
    yield from _intel_without_hwp(cpus, kernel)
    yield from _intel_disabled(cpus, kernel)
    yield from _amd_guided(cpus, kernel)
    yield from _amd_instead_of_acpi(cpus, kernel)


@check(Cpus, Kernel)
def kernel_option_ignored(cpus: Cpus, kernel: Kernel) -> Iterator[Finding]:
    """An option on the kernel command line has no effect on the scaling driver."""
    if cpus.is_simulated or not cpus.policies:
        return
    is_disabled = INTEL_DISABLED in kernel.arguments
    if is_disabled and any(it.is_intel_pstate for it in cpus.policies):
        yield info(
            "kernel command line",
            f"{INTEL_DISABLED} has no effect: the firmware has enabled HWP, which"
            " only intel_pstate can drive",
            "not needed; remove the option, or replace it by intel_pstate=passive",
        )
    amd = kernel.parameters.get("amd_pstate", "")
    drivers = {policy.driver for policy in cpus.policies}
    if amd in _AMD_MODES and not drivers & _AMD_DRIVERS:
        yield info(
            "kernel command line",
            f"amd_pstate={amd} has no effect: {_why_not_amd(cpus, kernel, amd)}",
            "not needed; remove the option if nothing else helps",
        )


def _why_not_amd(cpus: Cpus, kernel: Kernel, mode: str) -> str:
    version = _version(kernel)
    if version and version < _AMD_MODES[mode]:
        return f"Linux {kernel.release} does not have it"
    if not any(policy.cppc for policy in cpus.policies):
        return "the firmware does not describe CPPC; enable it in the firmware setup"
    return "see 'dmesg | grep amd_pstate'"


def _intel_passive(cpus: Cpus, kernel: Kernel, tables: AcpiTables) -> Iterator[Finding]:
    """intel_pstate in the mode active."""
    affected = _with_driver(cpus, "intel_pstate")
    if not affected or kernel.has_userspace_module is False:
        return
    chooser = "intel_pstate"
    if any(policy.has_preference for policy in affected):
        chooser = "the hardware (HWP)"
    warning = ""
    if tables.has_p_states is False:
        warning = (
            f"; not {INTEL_DISABLED}: the firmware describes no P-states, so there"
            " would be no scaling driver"
        )
    yield info(
        _name(affected),
        f"{_TWO_LIMITS}; in the mode passive of intel_pstate, one write sets them at"
        f" once, but a governor of the kernel, and not {chooser}, chooses the"
        " frequencies of CPUs that are not taken",
        _switch("intel", "passive") + warning,
    )


def _intel_without_hwp(cpus: Cpus, kernel: Kernel) -> Iterator[Finding]:
    """HWP is switched off by an option."""
    is_off = _NO_HWP in kernel.arguments
    affected = [
        it for it in cpus.policies if it.is_intel_pstate and not it.has_preference
    ]
    if is_off and affected and _HWP in kernel.cpu_flags:
        yield info(
            _name(affected),
            f"{_NO_HWP}: there is no energy performance preference; with HWP,"
            " there is, but in the mode active the hardware, and not intel_pstate, then"
            " chooses the frequencies of CPUs that are not taken",
            "not needed; to use HWP, remove the option from the kernel command line",
        )


def _intel_disabled(cpus: Cpus, kernel: Kernel) -> Iterator[Finding]:
    """acpi-cpufreq, because intel_pstate is switched off by an option."""
    affected = _with_driver(cpus, _ACPI)
    is_off = INTEL_DISABLED in kernel.arguments
    if is_off and affected and _HWP in kernel.cpu_flags:
        yield info(
            _name(affected),
            f"{INTEL_DISABLED} leaves {_steps_of(cpus, affected[0])} of the"
            " firmware; intel_pstate in the mode passive has steps of 100 MHz, and an"
            " energy performance preference, but guests then see other steps",
            "not needed; to change it, boot with intel_pstate=passive instead",
        )


def _amd_guided(cpus: Cpus, kernel: Kernel) -> Iterator[Finding]:
    """amd-pstate in the mode active."""
    affected = _with_driver(cpus, _AMD_ACTIVE)
    if not affected or kernel.has_userspace_module is False:
        return
    mode, chooser = "passive", "a governor of the kernel, and not the hardware, chooses"
    if _version(kernel) >= _AMD_MODES["guided"]:
        mode, chooser = "guided", "a governor of the kernel bounds"
    yield info(
        _name(affected),
        f"{_TWO_LIMITS}; in the mode {mode} of amd-pstate, one write sets them at once,"
        f" but {chooser} the frequencies of CPUs that are not taken, and there is no"
        " energy performance preference",
        _switch("amd", mode),
    )


def _amd_instead_of_acpi(cpus: Cpus, kernel: Kernel) -> Iterator[Finding]:
    """acpi-cpufreq on a CPU with CPPC, as on servers by default."""
    affected = _with_driver(cpus, _ACPI)
    if not affected or not kernel.is_amd or _version(kernel) < _AMD_MODES["passive"]:
        return
    policy = affected[0]
    steps = _steps_of(cpus, policy)
    if policy.cppc:
        slow = ""
        if _CPPC not in kernel.cpu_flags:
            slow = ", and writes go through the firmware's memory, not a register"
        yield info(
            _name(affected),
            f"acpi-cpufreq has {steps}; amd-pstate in the mode passive has"
            f" {_count_cppc_steps(policy)}, but guests then see other steps{slow}",
            "not needed; to change it, boot with amd_pstate=passive",
        )
    elif _CPPC in kernel.cpu_flags:
        yield info(
            _name(affected),
            f"acpi-cpufreq has {steps}; amd-pstate has more, but the firmware does"
            " not describe CPPC",
            "not needed; to change it, enable CPPC in the firmware setup and boot with"
            " amd_pstate=passive",
        )


def _count_cppc_steps(policy: CpufreqPolicy) -> str:
    """Describe the table that amd-pstate would have; see `power.steps`."""
    levels = policy.cppc
    nominal = levels.get("nominal_freq", 0) * 1_000
    lowest = levels.get("lowest_freq", 0) * 1_000
    if not 0 < lowest < nominal:
        return "steps of 100 MHz"
    count = len(range(nominal, lowest, -STEP_KHZ)) + 1
    count += levels.get("highest_perf", 0) > levels.get("nominal_perf", 0)
    return f"{count}, 100 MHz apart"


def _steps_of(cpus: Cpus, policy: CpufreqPolicy) -> str:
    group = cpus.topology.group(policy.number)
    count = len(group.steps.khz) if group is not None else 0
    return plural(count, "step")


def _with_driver(cpus: Cpus, driver: str) -> list[CpufreqPolicy]:
    return [it for it in cpus.policies if it.driver == driver and it.pcpus]


def _name(policies: list[CpufreqPolicy]) -> str:
    return f"CPU {format_cpulist({n for it in policies for n in it.pcpus})}"


def _switch(vendor: str, mode: str) -> str:
    return (
        f"not needed; to change it: echo {mode} >"
        f" {_CPU_DIR}/{vendor}_pstate/status, and for the next boot"
        f" {vendor}_pstate={mode} on the kernel command line"
    )


def _version(kernel: Kernel) -> tuple[int, ...]:
    """Return the first two numbers of a release: 6, 1 of `6.1.0-18-amd64`."""
    found = re.match(r"(\d+)\.(\d+)", kernel.release)
    return tuple(map(int, found.groups())) if found else ()
