# SPDX-License-Identifier: Apache-2.0
"""The CPUs that guests may use: their location and their clock group.

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
"""CPUs of libvirt's guests, on hosts that partition their CPUs with cgroups."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HostCpu:
    """An online CPU."""

    pcpu: PCpu
    core: PCpu
    """The lowest CPU of its core; the same for SMT siblings."""
    node: int = 0
    """NUMA node."""
    group: int | None = None
    """Clock group: N of policyN; None: its frequency cannot be set."""
    unmanaged: str = ""
    """Why not, for people."""
    coordinated: frozenset[PCpu] = frozenset()
    """CPUs, itself included, that the hardware runs at the highest frequency that is
    set for one of them; empty: not known."""
    is_isolated: bool = False
    """Whether the kernel schedules no other work on it (isolcpus)."""


def read_host_cpus(tree: CpuTree) -> tuple[HostCpu, ...]:
    """Read all online CPUs that guests may use.

    Raises:
        SysfsError: not a CPU tree.
    """
    topology = read_topology(tree)
    groups = {pcpu: group.number for group in topology.groups for pcpu in group.pcpus}
    isolated = _read_list(tree, f"{CPU_DIR}/isolated")
    usable = _read_list(tree, _MACHINES) or topology.online
    return tuple(
        HostCpu(
            pcpu=pcpu,
            core=topology.locations[pcpu].core,
            node=topology.locations[pcpu].node or 0,
            group=groups.get(pcpu),
            unmanaged=topology.unmanaged.get(pcpu, ""),
            coordinated=topology.coordinated[pcpu],
            is_isolated=pcpu in isolated,
        )
        for pcpu in sorted(topology.online & usable)
    )


def _read_list(tree: CpuTree, relative: str) -> frozenset[PCpu]:
    try:
        return frozenset(map(PCpu, parse_cpulist(tree.read(relative))))
    except (SysfsError, ConfigError):
        return frozenset()
