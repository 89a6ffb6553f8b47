# SPDX-License-Identifier: Apache-2.0
"""The scaling drivers that can be simulated: their files and first values, as data.

A driver has the name that the kernel shows in `scaling_driver`, followed by the mode
where two modes share that name.

The values are those of Linux 6.12 as read in virtual machines with these drivers: an
AMD EPYC and an Intel Xeon of 2.4 GHz that reach 3.6 GHz, and an Arm server of 3 GHz
that reaches 4 GHz with boost.

Source: drivers/cpufreq/{acpi-cpufreq,amd-pstate,intel_pstate,cppc_cpufreq}.c,
drivers/acpi/{cppc_acpi,processor_idle}.c, drivers/cpuidle/sysfs.c and
Documentation/admin-guide/pm/intel_uncore_frequency_scaling.rst of the kernel; for the
idle states of the Arm server the ACPI tables of Arm's Neoverse reference platforms.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, NamedTuple

from orchestrator.errors import ConfigError
from orchestrator.values.frequencies import FrequencyTable, table_from

if TYPE_CHECKING:
    from collections.abc import Mapping

DEFAULT_DRIVER = "acpi-cpufreq"
DEFAULT_STEPS_KHZ = (
    3_001_000,
    3_000_000,
    2_700_000,
    2_400_000,
    2_100_000,
    1_800_000,
    1_500_000,
    1_200_000,
)
"""Turbo, nominal and six more steps, in the range of current servers."""
KERNEL_ONLY: Mapping[str, str] = {
    "scaling_governor": "chooses the frequency; performance fixes the energy"
    " performance preference, too",
    "scaling_min_freq": "limits the frequency from below",
    "scaling_max_freq": "limits the frequency from above",
    "energy_performance_preference": "has the hardware weigh performance against"
    " energy",
    "boost": "turns turbo on or off for one clock group",
    "cpufreq/boost": "turns turbo on or off, and so changes cpuinfo_max_freq or the"
    " table",
    "amd_pstate/status": "switches the mode, and so replaces each policy's directory",
    "intel_pstate/status": "switches the mode, and so replaces each policy's directory",
    "intel_pstate/no_turbo": "turns turbo off or on, and so changes cpuinfo_max_freq",
    "intel_pstate/max_perf_pct": "limits the frequency of all CPUs from above",
    "intel_pstate/min_perf_pct": "limits the frequency of all CPUs from below",
    "max_freq_khz": "limits the frequency of a package's uncore from above",
    "min_freq_khz": "limits the frequency of a package's uncore from below",
    "online": "takes a CPU offline or online",
    "power/pm_qos_resume_latency_us": "excludes idle states that take longer to leave",
}
"""What files do in the kernel, and not in a simulated tree, for people.

In such a tree a write changes no other file (except that scaling_cur_freq follows one),
and is not refused, limited or rounded.
"""
_OF_ALL_DRIVERS = frozenset(
    {
        "scaling_governor",
        "scaling_min_freq",
        "scaling_max_freq",
        "online",
        "power/pm_qos_resume_latency_us",
    }
)


class IdleState(NamedTuple):
    """An idle state of cpuidle."""

    name: str
    description: str
    latency_us: int
    residency_us: int


_X86_IDLE = (
    IdleState("POLL", "CPUIDLE CORE POLL IDLE", 0, 0),
    IdleState("C1", "ACPI HLT", 2, 4),
    IdleState("C2", "ACPI FFH MWAIT 0x10", 50, 100),
    IdleState("C3", "ACPI FFH MWAIT 0x20", 200, 400),
)
_ARM_IDLE = (
    IdleState("LPI-0", "LPI1-Core", 1, 1),
    IdleState("LPI-1", "LPI3-Core", 350, 150),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class SimulatedDriver:
    """One scaling driver in one mode.

    Paths of files are relative to the directory that each mapping is about.
    """

    summary: str
    """For people, one line."""
    scaling_driver: str
    """Its name in the kernel."""
    steps: FrequencyTable
    """Its table; without one: the highest, the nominal and the lowest frequency."""
    has_table: bool = False
    """Whether it offers the steps of a table, and no frequency between them."""
    has_governors: bool = True
    """Whether it runs the kernel's governors, so that `userspace` can set a frequency.
    Otherwise the driver chooses frequencies itself, between scaling_min_freq and
    scaling_max_freq."""
    can_share: bool = False
    """Whether CPUs can share a clock group."""
    cpu_lists: tuple[str, ...] = ("affected_cpus", "related_cpus")
    """Files of policyN with the CPUs of the clock group."""
    current_files: tuple[str, ...] = ("scaling_cur_freq",)
    """Files of policyN that show the current frequency: links to `frequency_file`."""
    latency_ns: int
    """cpuinfo_transition_latency."""
    policy: Mapping[str, str] = field(default_factory=dict)
    """Further files of each policyN."""
    under_performance: Mapping[str, str] = field(default_factory=dict)
    """Those of `policy` that differ while the governor is `performance`."""
    cpu: Mapping[str, str] = field(default_factory=dict)
    """Further files of each cpuN."""
    package: Mapping[str, str] = field(default_factory=dict)
    """Files of each intel_uncore_frequency/package_NN_die_00."""
    system: Mapping[str, str] = field(default_factory=dict)
    """Further files beside the CPUs."""
    idle: tuple[IdleState, ...] = _X86_IDLE

    @property
    def governors(self) -> tuple[str, ...]:
        """The governors in the kernel's order, on Debian with all modules loaded."""
        if not self.has_governors:
            return ("performance", "powersave")
        return (
            "conservative",
            "ondemand",
            "userspace",
            "powersave",
            "performance",
            "schedutil",
        )

    @property
    def default_governor(self) -> str:
        """The governor after a boot of Debian.

        On servers amd-pstate-epp begins with `performance`, where its preference is
        fixed; `powersave` is that of its other machines.
        """
        return "schedutil" if self.has_governors else "powersave"

    @property
    def frequency_file(self) -> str:
        """The file of policyN whose value counts as the current frequency.

        A driver that chooses frequencies itself runs busy CPUs at their limit.
        """
        return "scaling_setspeed" if self.has_governors else "scaling_max_freq"

    @property
    def inert_files(self) -> tuple[str, ...]:
        """Those of its files that are in `KERNEL_ONLY`, in the same order."""
        found = {*_OF_ALL_DRIVERS, *self.policy, *self.system, *self.package}
        found.discard(self.frequency_file)
        return tuple(name for name in KERNEL_ONLY if name in found)


def find_simulated(name: str) -> SimulatedDriver:
    """Find a driver by its name.

    Raises:
        ConfigError: no such driver.
    """
    if name not in SIMULATED_DRIVERS:
        known = ", ".join(SIMULATED_DRIVERS)
        raise ConfigError(f"invalid scaling driver '{name}': expected one of {known}")
    return SIMULATED_DRIVERS[name]


def _cppc(
    *, highest: int, nominal: int, nonlinear: int, lowest: int, mhz: int
) -> dict[str, str]:
    """Return the files of ACPI's CPPC for one CPU; `mhz`: of one performance unit."""
    values = {
        "feedback_ctrs": "ref:16777216 del:16777216",
        "guaranteed_perf": 0,  # unknown, unless the firmware has a register for it
        "highest_perf": highest,
        "lowest_freq": lowest * mhz,
        "lowest_nonlinear_perf": nonlinear,
        "lowest_perf": lowest,
        "nominal_freq": nominal * mhz,
        "nominal_perf": nominal,
        "reference_perf": nominal,
        "wraparound_time": 2**64 - 1,
    }
    return {f"acpi_cppc/{name}": str(value) for name, value in values.items()}


_PREFERENCES = "default performance balance_performance balance_power power "
_EPP = {
    "energy_performance_available_preferences": _PREFERENCES,
    "energy_performance_preference": "balance_performance",
}
_EPP_OF_PERFORMANCE = {"energy_performance_preference": "performance"}

_AMD_PASSIVE = SimulatedDriver(
    summary="AMD, passive: any frequency through the userspace governor",
    scaling_driver="amd-pstate",
    steps=table_from((3_600_000, 2_400_000, 600_000), has_turbo=True),
    latency_ns=20_000,
    policy={
        "amd_pstate_highest_perf": "240",
        "amd_pstate_hw_prefcore": "disabled",
        "amd_pstate_lowest_nonlinear_freq": "1200000",
        "amd_pstate_max_freq": "3600000",
        "amd_pstate_prefcore_ranking": "240",
        "boost": "1",
    },
    cpu=_cppc(highest=240, nominal=160, nonlinear=80, lowest=40, mhz=15),
    system={
        "amd_pstate/prefcore": "disabled",
        "amd_pstate/status": "passive",
        "cpufreq/boost": "1",
    },
)
_INTEL_NO_HWP = SimulatedDriver(
    summary="Intel, active, without HWP: limits of frequency",
    scaling_driver="intel_pstate",
    steps=table_from((3_600_000, 2_400_000, 800_000), has_turbo=True),
    has_governors=False,
    latency_ns=0,
    system={
        "intel_pstate/max_perf_pct": "100",
        "intel_pstate/min_perf_pct": "22",
        "intel_pstate/no_turbo": "0",
        "intel_pstate/num_pstates": "29",
        "intel_pstate/status": "active",
        "intel_pstate/turbo_pct": "42",
    },
    package={
        "current_freq_khz": "2400000",
        "initial_max_freq_khz": "2400000",
        "initial_min_freq_khz": "800000",
        "max_freq_khz": "2400000",
        "min_freq_khz": "800000",
    },
)
_INTEL_HWP = replace(
    _INTEL_NO_HWP,
    summary="Intel, active, HWP: limits of frequency, energy preference",
    policy={"base_frequency": "2400000", **_EPP},
    under_performance=_EPP_OF_PERFORMANCE,
    system={**_INTEL_NO_HWP.system, "intel_pstate/hwp_dynamic_boost": "0"},
)

SIMULATED_DRIVERS: Mapping[str, SimulatedDriver] = {
    DEFAULT_DRIVER: SimulatedDriver(
        summary="ACPI: a table of steps through the userspace governor",
        scaling_driver="acpi-cpufreq",
        steps=table_from(DEFAULT_STEPS_KHZ),
        has_table=True,
        can_share=True,
        cpu_lists=("affected_cpus", "freqdomain_cpus", "related_cpus"),
        latency_ns=10_000,
        system={"cpufreq/boost": "1"},
    ),
    "amd-pstate": _AMD_PASSIVE,
    "amd-pstate-guided": replace(
        _AMD_PASSIVE,
        summary="AMD, guided: as passive, without the firmware's choice",
        system={**_AMD_PASSIVE.system, "amd_pstate/status": "guided"},
    ),
    "amd-pstate-epp": replace(
        _AMD_PASSIVE,
        summary="AMD, active: limits of frequency, energy preference",
        scaling_driver="amd-pstate-epp",
        has_governors=False,
        latency_ns=0,
        policy={**_AMD_PASSIVE.policy, **_EPP},
        under_performance={
            **_EPP_OF_PERFORMANCE,
            "energy_performance_available_preferences": "performance",
        },
        system={**_AMD_PASSIVE.system, "amd_pstate/status": "active"},
    ),
    "intel_cpufreq": replace(
        _INTEL_HWP,
        summary="Intel, passive, HWP: 100 MHz steps through the userspace governor",
        scaling_driver="intel_cpufreq",
        has_governors=True,
        latency_ns=20_000,
        under_performance={},
        system={**_INTEL_NO_HWP.system, "intel_pstate/status": "passive"},
    ),
    "intel_pstate": _INTEL_HWP,
    "intel_pstate-no-hwp": _INTEL_NO_HWP,
    "cppc_cpufreq": SimulatedDriver(
        summary="Arm: any frequency through the userspace governor",
        scaling_driver="cppc_cpufreq",
        # Boost is off after a boot of Linux.
        steps=table_from((3_000_000, 500_000)),
        can_share=True,
        cpu_lists=("affected_cpus", "freqdomain_cpus", "related_cpus"),
        latency_ns=0,
        current_files=("cpuinfo_cur_freq", "scaling_cur_freq"),
        policy={"boost": "0"},
        cpu=_cppc(highest=400, nominal=300, nonlinear=100, lowest=50, mhz=10),
        system={"cpufreq/boost": "0"},
        idle=_ARM_IDLE,
    ),
}
"""By the name for `vmpower simulate --driver`."""
