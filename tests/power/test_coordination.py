# SPDX-License-Identifier: Apache-2.0
"""Which CPUs the hardware coordinates: by the firmware's account and by cores."""

from __future__ import annotations

from typing import TYPE_CHECKING

from orchestrator.power.simulated import lay_out, switch_cpu
from orchestrator.power.sysfs import CPU_DIR, CpuTree
from orchestrator.power.topology import Topology, read_topology
from orchestrator.values.domain import PCpu

if TYPE_CHECKING:
    from pathlib import Path


def set_freqdomain(tree: CpuTree, number: int, cpus: str) -> None:
    path = tree.cpu_dir / "cpufreq" / f"policy{number}" / "freqdomain_cpus"
    path.write_text(f"{cpus} \n")


def set_threads(tree: CpuTree, *pcpus: int) -> None:
    for pcpu in pcpus:
        path = tree.root / CPU_DIR / f"cpu{pcpu}" / "topology" / "thread_siblings_list"
        path.write_text(",".join(map(str, pcpus)) + "\n")


def coordinated(topology: Topology, number: int) -> list[int]:
    group = topology.group(number)
    assert group is not None
    return sorted(topology.coordinated_with(group))


def test_a_cpu_of_its_own_is_coordinated_with_no_other(tree: CpuTree) -> None:
    topology = read_topology(tree)
    assert [coordinated(topology, n) for n in range(4)] == [[], [], [], []]
    assert topology.coordinated[PCpu(2)] == {2}


def test_the_firmware_names_cpus_that_the_hardware_coordinates(tree: CpuTree) -> None:
    for number in range(3):
        set_freqdomain(tree, number, "0 1 2")
    topology = read_topology(tree)
    assert [coordinated(topology, n) for n in range(4)] == [[1, 2], [0, 2], [0, 1], []]


def test_threads_of_a_core_are_coordinated_without_the_firmware(tree: CpuTree) -> None:
    for number in range(4):
        (tree.cpu_dir / "cpufreq" / f"policy{number}" / "freqdomain_cpus").unlink()
    set_threads(tree, 1, 3)
    topology = read_topology(tree)
    assert [coordinated(topology, n) for n in range(4)] == [[], [3], [], [1]]


def test_both_sources_are_joined(tree: CpuTree) -> None:
    set_threads(tree, 0, 2)
    set_freqdomain(tree, 2, "2 3")
    topology = read_topology(tree)
    assert coordinated(topology, 0) == [2, 3]
    assert coordinated(topology, 3) == [0, 2]


def test_cpus_of_one_clock_group_are_not_outside_of_it(tmp_path: Path) -> None:
    lay_out(tmp_path / "sys", cpus=4, shared=2)
    tree = CpuTree(tmp_path / "sys")
    set_freqdomain(tree, 0, "0 1 2")
    assert coordinated(read_topology(tree), 0) == [2, 3]


def test_an_offline_cpu_is_not_coordinated(tree: CpuTree) -> None:
    set_freqdomain(tree, 0, "0 1")
    switch_cpu(tree.root, 1, is_online=False)
    topology = read_topology(tree)
    assert coordinated(topology, 0) == []
    assert PCpu(1) not in topology.coordinated


def test_garbage_in_the_firmware_s_account_is_ignored(tree: CpuTree) -> None:
    set_freqdomain(tree, 0, "x -1 99 1")
    assert coordinated(read_topology(tree), 0) == [1]
