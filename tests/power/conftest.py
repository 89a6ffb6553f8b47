"""CPU trees for the tests; VMPOWER_CPU_ROOT adds a real one to the contract."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from orchestrator.power.simulated import lay_out
from orchestrator.power.sysfs import CpuTree


def read_all(root: Path) -> dict[str, bytes]:
    """Read every byte of a tree, and where its links point."""
    found = {}
    for path in sorted(root.rglob("*")):
        name = str(path.relative_to(root))
        if path.is_symlink():
            found[name] = str(path.readlink()).encode()
        elif path.is_file():
            found[name] = path.read_bytes()
    return found


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Four simulated CPUs with a clock each."""
    lay_out(tmp_path / "sys", cpus=4)
    return tmp_path / "sys"


@pytest.fixture
def tree(root: Path) -> CpuTree:
    return CpuTree(root)


@pytest.fixture(
    params=["own clocks", "shared clocks", "no turbo"]
    + ([real] if (real := os.environ.get("VMPOWER_CPU_ROOT")) else [])
)
def any_tree(request: pytest.FixtureRequest, tmp_path: Path) -> CpuTree:
    """Every kind of tree that the contract is for."""
    directory = tmp_path / "any"
    match request.param:
        case "own clocks":
            lay_out(directory, cpus=3)
        case "shared clocks":
            lay_out(directory, cpus=7, shared=3)
        case "no turbo":
            lay_out(directory, cpus=2, steps_khz=(2_400_000, 1_200_000))
        case real_root:
            return CpuTree(Path(real_root))
    return CpuTree(directory)
