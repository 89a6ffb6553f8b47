# SPDX-License-Identifier: Apache-2.0
"""The CPUs: their scaling drivers, governors and limits.

Source: Documentation/admin-guide/pm/{cpufreq,intel_pstate,amd-pstate}.rst of the
kernel.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

from orchestrator.errors import SysfsError
from orchestrator.power.cpus import HostCpu, read_host_cpus
from orchestrator.power.sysfs import CPU_DIR, CpuTree, policy_path
from orchestrator.power.topology import Topology, read_topology

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from cli.doctor.target import Target
    from orchestrator.control import documents

_INTEL_STATUS, _AMD_STATUS = "intel_pstate/status", "amd_pstate/status"
_STATUS = {
    "intel_pstate": _INTEL_STATUS,
    "intel_cpufreq": _INTEL_STATUS,
    "amd-pstate": _AMD_STATUS,
    "amd-pstate-epp": _AMD_STATUS,
}
"""Where the mode of a scaling driver is; Linux before 6.3 has none of amd-pstate."""
_SWITCHES = (
    *sorted({_INTEL_STATUS, _AMD_STATUS}),
    "intel_pstate/no_turbo",
    "intel_pstate/turbo_pct",
    "intel_pstate/min_perf_pct",
    "intel_pstate/max_perf_pct",
    "cpufreq/boost",
    "smt/control",
)


_CPPC = (
    "highest_perf",
    "nominal_perf",
    "guaranteed_perf",
    "lowest_perf",
    "nominal_freq",
    "lowest_freq",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class CpufreqPolicy:
    """The files of a cpufreq policy, with any scaling driver."""

    number: int
    pcpus: tuple[int, ...]
    """Its online CPUs."""
    driver: str
    governor: str
    governors: tuple[str, ...]
    """Available now; others may be loaded on demand."""
    min_khz: int | None
    """scaling_min_freq: the current limit."""
    max_khz: int | None
    hardware_min_khz: int | None
    hardware_max_khz: int | None
    held_min_khz: int | None = None
    """What a running daemon has written to scaling_min_freq; None: nothing."""
    held_max_khz: int | None = None
    boost: str = ""
    """Its own switch for turbo; empty: Linux before 6.11 has one for all CPUs."""
    bios_limit_khz: int | None = None
    """Highest P-state that the firmware permits (_PPC), of acpi-cpufreq."""
    has_preference: bool = False
    """Whether it has an energy performance preference."""
    cppc: Mapping[str, int] = field(default_factory=dict)
    """Performance levels that the firmware describes (_CPC), by file name."""

    @property
    def is_intel_pstate(self) -> bool:
        """Whether intel_pstate drives it, in any mode."""
        return _STATUS.get(self.driver) == _INTEL_STATUS

    @property
    def floor_khz(self) -> int:
        """The frequency that its governor never goes below; 0: not known."""
        is_highest = self.governor == "performance"
        return (self.max_khz if is_highest else self.min_khz) or 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Cpus:
    """All CPUs of the host."""

    topology: Topology
    policies: tuple[CpufreqPolicy, ...]
    """Including those with unsupported drivers."""
    hosts: tuple[HostCpu, ...]
    present: frozenset[int]
    switches: Mapping[str, str]
    """Values of files in the CPU directory, by name, as far as they exist."""
    is_simulated: bool
    shared_tunables: frozenset[str] = frozenset()
    """Governors with tunables that the kernel keeps once for all CPUs."""

    def mode_of(self, policy: CpufreqPolicy) -> str:
        """Return the mode of a policy's scaling driver; empty: none, or not known."""
        return self.switches.get(_STATUS.get(policy.driver, ""), "")

    def is_turbo_off(self, policy: CpufreqPolicy) -> bool:
        """Whether turbo of a policy's CPUs is switched off in the kernel."""
        if policy.is_intel_pstate:
            return self.is_intel_turbo_off
        return "0" in (policy.boost, self.switches.get("cpufreq/boost"))

    @property
    def is_intel_turbo_off(self) -> bool:
        """Whether turbo is switched off in intel_pstate."""
        return self.switches.get("intel_pstate/no_turbo") == "1"

    def perf_pct(self, end: Literal["min", "max"]) -> int | None:
        """Return a limit of intel_pstate, in percent of the highest frequency."""
        word = self.switches.get(f"intel_pstate/{end}_perf_pct", "")
        return int(word) if word.isascii() and word.isdigit() else None

    def by_frequency(
        self, khz_of: Callable[[CpufreqPolicy], int | None]
    ) -> list[tuple[int, set[int]]]:
        """Group CPUs by a frequency of their policy, ascending.

        Args:
            khz_of: returns the frequency; None or 0: the policy is left out.
        """
        found: dict[int, set[int]] = {}
        for policy in self.policies:
            if khz := khz_of(policy):
                found.setdefault(khz, set()).update(policy.pcpus)
        return sorted(found.items())

    @property
    def isolated(self) -> frozenset[int]:
        """CPUs that the scheduler leaves free (isolcpus)."""
        return frozenset(cpu.pcpu for cpu in self.hosts if cpu.is_isolated)


@dataclass(frozen=True, slots=True, kw_only=True)
class CpuTreeState:
    """Whether the CPU tree can be read."""

    problem: str
    """Why not; empty: it can."""


def read_cpus(target: Target, status: documents.Status | None = None) -> Cpus:
    """Read the CPU tree.

    Args:
        target: where to read.
        status: of a running daemon, which may have set limits.

    Raises:
        SysfsError: there is no CPU tree.
    """
    tree = CpuTree(target.cpu_root)
    topology = read_topology(tree)
    directories = {
        path.name for path in (tree.cpu_dir / "cpufreq").glob("*") if path.is_dir()
    }
    policies = {name for name in directories if name.startswith("policy")}
    numbers = sorted(name.removeprefix("policy") for name in policies)
    return Cpus(
        topology=topology,
        policies=tuple(
            _read_policy(tree, int(n), status) for n in numbers if n.isdecimal()
        ),
        hosts=read_host_cpus(tree),
        present=_read_present(tree, topology),
        switches={
            name: value
            for name in _SWITCHES
            if (value := _read(tree, f"{CPU_DIR}/{name}"))
        },
        is_simulated=tree.is_simulated,
        shared_tunables=frozenset(directories - policies),
    )


def _read_policy(
    tree: CpuTree, number: int, status: documents.Status | None
) -> CpufreqPolicy:
    cpus = status["cpus"] if status else []
    daemon = next((cpu for cpu in cpus if cpu["clock_group"] == number), None)

    def text(name: str) -> str:
        return _read(tree, policy_path(number, name))

    def khz(name: str) -> int | None:
        return tree.read_khz(policy_path(number, name))

    return CpufreqPolicy(
        number=number,
        pcpus=tuple(int(w) for w in text("affected_cpus").split() if w.isdecimal()),
        driver=text("scaling_driver"),
        governor=text("scaling_governor"),
        governors=tuple(text("scaling_available_governors").split()),
        min_khz=khz("scaling_min_freq"),
        max_khz=khz("scaling_max_freq"),
        hardware_min_khz=khz("cpuinfo_min_freq"),
        hardware_max_khz=khz("cpuinfo_max_freq"),
        held_min_khz=_held_khz(daemon, "held_min_khz"),
        held_max_khz=_held_khz(daemon, "held_max_khz"),
        boost=text("boost"),
        bios_limit_khz=khz("bios_limit"),
        has_preference=bool(text("energy_performance_preference")),
        cppc=_read_cppc(tree, number),
    )


def _read_cppc(tree: CpuTree, number: int) -> dict[str, int]:
    # A policy has the number of one of its CPUs.
    directory = f"{CPU_DIR}/cpu{number}/acpi_cppc"
    values = {name: tree.read_khz(f"{directory}/{name}") for name in _CPPC}
    return {name: value for name, value in values.items() if value is not None}


def _held_khz(
    cpu: documents.Cpu | None, key: Literal["held_min_khz", "held_max_khz"]
) -> int | None:
    """Return a limit that the daemon has set; a grant, if limits set frequencies."""
    if cpu is None:
        return None
    # Absent from the documents of a daemon that was not restarted after an upgrade.
    if cpu.get("mechanism") == "limits" and cpu["claimed"]:
        return cpu["grant_khz"]
    return cpu.get(key)


def _read_present(tree: CpuTree, topology: Topology) -> frozenset[int]:
    try:
        return frozenset[int](tree.present())
    except SysfsError:
        return frozenset[int](topology.online)


def _read(tree: CpuTree, relative: str) -> str:
    try:
        return tree.read(relative)
    except SysfsError:
        return ""
