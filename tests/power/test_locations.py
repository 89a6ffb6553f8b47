# SPDX-License-Identifier: Apache-2.0
"""Locations of CPUs, on trees with and without them."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

import pytest

from orchestrator.power.sysfs import CPU_DIR, CpuTree
from orchestrator.power.topology import CpuLocation, read_location, read_topology
from orchestrator.values.domain import PCpu

if TYPE_CHECKING:
    from pathlib import Path


def place_cpu(root: Path, pcpu: int, siblings: str, package: str, node: int) -> None:
    cpu = root / CPU_DIR / f"cpu{pcpu}"
    (cpu / "node0").rmdir()
    (cpu / "topology" / "thread_siblings_list").write_text(f"{siblings}\n")
    (cpu / "topology" / "physical_package_id").write_text(f"{package}\n")
    (cpu / f"node{node}").symlink_to(f"../../node/node{node}")


def test_a_cpu_s_location_is_read(tree: CpuTree) -> None:
    place_cpu(tree.root, 3, "1,3", "1", 2)
    assert read_location(tree, PCpu(3)) == CpuLocation(core=PCpu(1), package=1, node=2)
    assert read_topology(tree).locations[PCpu(3)].package == 1


def test_a_missing_location_is_unknown(tree: CpuTree) -> None:
    shutil.rmtree(tree.cpu_dir / "cpu3" / "topology")
    (tree.cpu_dir / "cpu3" / "node0").rmdir()
    assert read_location(tree, PCpu(3)) == CpuLocation(core=PCpu(3))


@pytest.mark.parametrize("package", ["-1", "", "first"])
def test_an_invalid_package_is_unknown(tree: CpuTree, package: str) -> None:
    place_cpu(tree.root, 3, "what", package, 0)
    assert read_location(tree, PCpu(3)) == CpuLocation(core=PCpu(3), node=0)
