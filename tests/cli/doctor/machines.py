# SPDX-License-Identifier: Apache-2.0
"""Machines on disk: the files of /sys, /proc and /etc that the doctor reads.

Their contents are written after the kernel's documentation of each scaling driver
(Documentation/admin-guide/pm/{cpufreq,intel_pstate,amd-pstate}.rst, drivers/cpufreq and
cppc_sysfs), not recorded on machines.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from orchestrator.values.cpuset import format_cpulist

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

CPU = "sys/devices/system/cpu"
RELEASE = "6.1.0-18-amd64"
OLD_INTEL_FLAGS = "fpu vme msr vmx est ida"
INTEL_FLAGS = "fpu vme msr vmx est ida hwp hwp_epp"
OLD_AMD_FLAGS = "fpu vme msr svm hw_pstate cpb"
AMD_FLAGS = "fpu vme msr svm hw_pstate cpb cppc"
GUEST_FLAGS = "fpu vme msr hypervisor"


@dataclass(frozen=True, kw_only=True)
class Machine:
    """What distinguishes one kind of machine."""

    driver: str
    governors: str
    governor: str
    min_khz: int = 800_000
    max_khz: int = 3_500_000
    policy: Mapping[str, str] = field(default_factory=dict)
    """Additional files of each cpufreq policy."""
    files: Mapping[str, str] = field(default_factory=dict)
    """Additional files of the machine."""
    flags: str = INTEL_FLAGS
    command_line: str = "BOOT_IMAGE=/vmlinuz root=/dev/sda1 ro quiet"


def _cppc(
    highest: int, nominal: int, lowest: int, *, nominal_mhz: int, lowest_mhz: int = 0
) -> dict[str, str]:
    """Return the CPPC files of four CPUs."""
    values = {
        "highest_perf": highest,
        "nominal_perf": nominal,
        "lowest_perf": lowest,
        "nominal_freq": nominal_mhz,
        "lowest_freq": lowest_mhz,
    }
    return {
        f"{CPU}/cpu{number}/acpi_cppc/{name}": str(value)
        for number in range(4)
        for name, value in values.items()
    }


ALL_GOVERNORS = "conservative ondemand userspace powersave performance schedutil"
MACHINES = {
    "acpi-cpufreq": Machine(
        driver="acpi-cpufreq",
        governors=ALL_GOVERNORS,
        governor="schedutil",
        min_khz=1_200_000,
        max_khz=2_301_000,
        policy={
            "scaling_available_frequencies": "2301000 2300000 1800000 1200000 ",
            "scaling_setspeed": "<unsupported>",
            "bios_limit": "2301000",
        },
        files={f"{CPU}/cpufreq/boost": "1"},
        flags=OLD_INTEL_FLAGS,
        command_line="BOOT_IMAGE=/vmlinuz ro intel_pstate=disable",
    ),
    "acpi-cpufreq, HWP unused": Machine(
        driver="acpi-cpufreq",
        governors=ALL_GOVERNORS,
        governor="schedutil",
        min_khz=1_200_000,
        max_khz=2_301_000,
        policy={"scaling_available_frequencies": "2301000 2300000 1800000 1200000 "},
        files={f"{CPU}/cpufreq/boost": "1"},
        command_line="BOOT_IMAGE=/vmlinuz ro intel_pstate=disable",
    ),
    "acpi-cpufreq, CPPC unused": Machine(
        driver="acpi-cpufreq",
        governors=ALL_GOVERNORS,
        governor="schedutil",
        min_khz=1_500_000,
        max_khz=3_675_000,
        policy={
            "scaling_available_frequencies": "2450000 2000000 1500000 ",
            "scaling_boost_frequencies": "3675000 ",
            "bios_limit": "2450000",
        },
        files={f"{CPU}/cpufreq/boost": "1"}
        | _cppc(255, 170, 28, nominal_mhz=2450, lowest_mhz=400),
        flags=OLD_AMD_FLAGS,
    ),
    "intel_pstate active": Machine(
        driver="intel_pstate",
        governors="performance powersave",
        governor="powersave",
        policy={
            "energy_performance_preference": "balance_performance",
            "energy_performance_available_preferences": "default performance"
            " balance_performance balance_power power",
            "base_frequency": "2100000",
            "scaling_setspeed": "<unsupported>",
        },
        files={
            f"{CPU}/intel_pstate/status": "active",
            f"{CPU}/intel_pstate/no_turbo": "0",
            f"{CPU}/intel_pstate/min_perf_pct": "22",
            f"{CPU}/intel_pstate/max_perf_pct": "100",
            f"{CPU}/intel_pstate/turbo_pct": "52",
            f"{CPU}/intel_pstate/num_pstates": "28",
        },
    ),
    "intel_pstate active, no HWP": Machine(
        driver="intel_pstate",
        governors="performance powersave",
        governor="powersave",
        policy={"scaling_setspeed": "<unsupported>"},
        files={
            f"{CPU}/intel_pstate/status": "active",
            f"{CPU}/intel_pstate/no_turbo": "0",
            f"{CPU}/intel_pstate/min_perf_pct": "22",
            f"{CPU}/intel_pstate/max_perf_pct": "100",
            f"{CPU}/intel_pstate/turbo_pct": "52",
            f"{CPU}/intel_pstate/num_pstates": "28",
        },
        command_line="BOOT_IMAGE=/vmlinuz ro intel_pstate=no_hwp intel_pstate=active",
    ),
    "intel_pstate passive": Machine(
        driver="intel_cpufreq",
        governors=ALL_GOVERNORS,
        governor="schedutil",
        policy={"scaling_setspeed": "<unsupported>", "base_frequency": "2100000"},
        files={
            f"{CPU}/intel_pstate/status": "passive",
            f"{CPU}/intel_pstate/no_turbo": "0",
            f"{CPU}/intel_pstate/min_perf_pct": "22",
            f"{CPU}/intel_pstate/max_perf_pct": "100",
            f"{CPU}/intel_pstate/turbo_pct": "52",
        },
        command_line="BOOT_IMAGE=/vmlinuz ro intel_pstate=passive",
    ),
    "amd-pstate-epp": Machine(
        driver="amd-pstate-epp",
        governors="performance powersave",
        governor="powersave",
        min_khz=400_000,
        policy={
            "energy_performance_preference": "balance_performance",
            "amd_pstate_max_freq": "3500000",
            "amd_pstate_lowest_nonlinear_freq": "1700000",
        },
        files={f"{CPU}/amd_pstate/status": "active"},
        flags=AMD_FLAGS,
        command_line="BOOT_IMAGE=/vmlinuz ro amd_pstate=active",
    ),
    "amd-pstate passive": Machine(
        driver="amd-pstate",
        governors=ALL_GOVERNORS,
        governor="schedutil",
        min_khz=400_000,
        policy={
            "scaling_setspeed": "<unsupported>",
            "amd_pstate_max_freq": "3500000",
            "amd_pstate_lowest_nonlinear_freq": "1700000",
        },
        files={f"{CPU}/amd_pstate/status": "passive", f"{CPU}/cpufreq/boost": "1"}
        | _cppc(166, 124, 19, nominal_mhz=2600),
        flags=AMD_FLAGS,
        command_line="BOOT_IMAGE=/vmlinuz ro amd_pstate=passive",
    ),
    "amd-pstate guided": Machine(
        driver="amd-pstate",
        governors=ALL_GOVERNORS,
        governor="schedutil",
        min_khz=400_000,
        policy={
            "scaling_setspeed": "<unsupported>",
            "amd_pstate_max_freq": "3500000",
            "amd_pstate_lowest_nonlinear_freq": "1700000",
            "boost": "1",
        },
        files={f"{CPU}/amd_pstate/status": "guided", f"{CPU}/cpufreq/boost": "1"}
        | _cppc(166, 124, 19, nominal_mhz=2600),
        flags=AMD_FLAGS,
        command_line="BOOT_IMAGE=/vmlinuz ro amd_pstate=guided",
    ),
    "cppc_cpufreq": Machine(
        driver="cppc_cpufreq",
        governors=ALL_GOVERNORS,
        governor="schedutil",
        min_khz=1_000_000,
        max_khz=3_000_000,
        policy={"scaling_setspeed": "<unsupported>"},
        files=_cppc(300, 300, 100, nominal_mhz=3000),
        flags="fp asimd evtstrm aes",
    ),
}


def lay_out_machine(
    root: Path, machine: Machine | None, *, cpus: int = 4, shared: int = 1
) -> Path:
    """Write the files of a machine, or of a host without cpufreq."""
    files = _host(cpus, machine.flags if machine else INTEL_FLAGS)
    if machine is not None:
        files["proc/cmdline"] = machine.command_line
        for first in range(0, cpus, shared):
            files |= _policy(machine, range(first, min(first + shared, cpus)))
        files |= machine.files
    write(root, files)
    kvm = root / "dev/kvm"
    kvm.parent.mkdir()
    kvm.touch()
    kvm.chmod(0o666)
    return root


def write(root: Path, files: Mapping[str, str]) -> None:
    """Write files below a root; replace existing ones."""
    for name, value in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"{value}\n")


def _host(cpus: int, flags: str) -> dict[str, str]:
    numbers = format_cpulist(range(cpus))
    files = {
        "proc/sys/kernel/osrelease": RELEASE,
        "proc/cmdline": "BOOT_IMAGE=/vmlinuz ro quiet",
        "proc/cpuinfo": f"processor\t: 0\nflags\t\t: {flags}\n",
        "proc/mounts": "sysfs /sys sysfs rw,nosuid,nodev,noexec,relatime 0 0",
        f"lib/modules/{RELEASE}/modules.builtin": "kernel/drivers/cpufreq/cpufreq.ko",
        f"lib/modules/{RELEASE}/modules.dep": "kernel/drivers/cpufreq/"
        "cpufreq_userspace.ko:",
        "etc/passwd": "root:x:0:0:root:/root:/bin/bash\n"
        "libvirt-qemu:x:64055:107:QEMU:/var/lib/libvirt:/usr/sbin/nologin",
        "etc/group": "root:x:0:\nkvm:x:107:\nlibvirt:x:110:",
        f"{CPU}/online": numbers,
        f"{CPU}/present": numbers,
        f"{CPU}/isolated": "",
    }
    for number in range(cpus):
        files[f"{CPU}/cpu{number}/topology/thread_siblings_list"] = str(number)
    return files


def _policy(machine: Machine, pcpus: range) -> dict[str, str]:
    numbers = " ".join(map(str, pcpus))
    values = {
        "affected_cpus": numbers,
        "related_cpus": numbers,
        "scaling_driver": machine.driver,
        "scaling_governor": machine.governor,
        "scaling_available_governors": machine.governors,
        "cpuinfo_min_freq": str(machine.min_khz),
        "cpuinfo_max_freq": str(machine.max_khz),
        "scaling_min_freq": str(machine.min_khz),
        "scaling_max_freq": str(machine.max_khz),
        "scaling_cur_freq": str(machine.max_khz),
        **machine.policy,
    }
    return {f"{CPU}/cpufreq/policy{pcpus[0]}/{k}": value for k, value in values.items()}
