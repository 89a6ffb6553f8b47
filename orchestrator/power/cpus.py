"""The CPUs that are open to guests: where each sits, and its clock.

Source: Documentation/ABI/stable/sysfs-devices-system-cpu of the kernel (isolated).
"""

from __future__ import annotations

from dataclasses import dataclass

from orchestrator.errors import ConfigError, SysfsError
from orchestrator.power.sysfs import CPU_DIR, CpuTree
from orchestrator.power.topology import read_topology
from orchestrator.values.cpuset import parse_cpulist
from orchestrator.values.domain import PCpu

_MACHINES = "fs/cgroup/machine.slice/cpuset.cpus.effective"
"""Where libvirt's guests may run, on hosts that divide their CPUs with cgroups."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HostCpu:
    """A CPU that is online."""

    pcpu: PCpu
    core: PCpu
    """The lowest CPU of its core: SMT siblings have the same."""
    node: int = 0
    """NUMA node."""
    group: int | None = None
    """Clock group, N of policyN; None: its clock cannot be set."""
    is_isolated: bool = False
    """Whether the kernel puts no work there by itself (isolcpus)."""


def read_host_cpus(tree: CpuTree) -> tuple[HostCpu, ...]:
    """Read all CPUs that are online and open to guests.

    Raises:
        SysfsError: this is no CPU tree.
    """
    topology = read_topology(tree)
    groups = {pcpu: group.number for group in topology.groups for pcpu in group.pcpus}
    isolated = _read_list(tree, f"{CPU_DIR}/isolated")
    open_to_guests = _read_list(tree, _MACHINES) or topology.online
    return tuple(
        HostCpu(
            pcpu=pcpu,
            core=topology.locations[pcpu].core,
            node=topology.locations[pcpu].node or 0,
            group=groups.get(pcpu),
            is_isolated=pcpu in isolated,
        )
        for pcpu in sorted(topology.online & open_to_guests)
    )


def _read_list(tree: CpuTree, relative: str) -> frozenset[PCpu]:
    try:
        return frozenset(map(PCpu, parse_cpulist(tree.read(relative))))
    except (SysfsError, ConfigError):
        return frozenset()
