# SPDX-License-Identifier: Apache-2.0
"""CPUs of different clock groups whose frequency the hardware coordinates.

Coordinated CPUs run at the highest frequency that is set for any of them, whatever the
kernel reports for each. There are two sources: the firmware (`freqdomain_cpus`), and
the threads of a core, which have one clock although acpi-cpufreq can set a frequency
for each.

Source: Documentation/ABI/testing/sysfs-devices-system-cpu of the kernel
(freqdomain_cpus); drivers/cpufreq/acpi-cpufreq.c (for AMD it takes `freqdomain_cpus`
from the threads of the core).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from orchestrator.errors import SysfsError
from orchestrator.power.sysfs import policy_path
from orchestrator.values.domain import PCpu

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from orchestrator.power.sysfs import CpuTree


def read_coordinated(
    tree: CpuTree,
    policies: Mapping[int, frozenset[PCpu]],
    cores: Mapping[PCpu, PCpu],
) -> dict[PCpu, frozenset[PCpu]]:
    """Read which online CPUs are coordinated.

    Args:
        tree: the CPU tree.
        policies: the online CPUs of each policyN, by N.
        cores: the lowest CPU of the core of each online CPU.

    Returns:
        For each online CPU, all that are coordinated with it, itself included.
    """
    threads: dict[PCpu, set[PCpu]] = {}
    for pcpu, core in cores.items():
        threads.setdefault(core, set()).add(pcpu)
    # A set: the CPUs of one package can all have the same `freqdomain_cpus`.
    parts = set(map(frozenset, threads.values()))
    for number, pcpus in policies.items():
        parts.add(pcpus | (_read_freqdomain(tree, number) & cores.keys()))
    return _join(parts)


def _read_freqdomain(tree: CpuTree, number: int) -> frozenset[PCpu]:
    try:
        words = tree.read(policy_path(number, "freqdomain_cpus")).split()
    except SysfsError:  # most scaling drivers have no such file
        return frozenset()
    return frozenset(PCpu(int(w)) for w in words if w.isascii() and w.isdigit())


def _join(parts: Iterable[frozenset[PCpu]]) -> dict[PCpu, frozenset[PCpu]]:
    """Join the sets that have a CPU in common."""
    found: dict[PCpu, set[PCpu]] = {}
    for part in parts:
        joined = set(part).union(*(found[pcpu] for pcpu in part if pcpu in found))
        found |= dict.fromkeys(joined, joined)
    frozen = {id(members): frozenset(members) for members in found.values()}
    return {pcpu: frozen[id(members)] for pcpu, members in found.items()}
