"""Where each CPU sits: its socket, its core, its NUMA node.

Source: Documentation/ABI/stable/sysfs-devices-system-cpu of the kernel (topology/,
nodeN).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from orchestrator.errors import ConfigError, SysfsError
from orchestrator.power.sysfs import CPU_DIR
from orchestrator.values.cpuset import parse_cpulist
from orchestrator.values.domain import PCpu

if TYPE_CHECKING:
    from orchestrator.power.sysfs import CpuTree


@dataclass(frozen=True, slots=True, kw_only=True)
class Seat:
    """The place of a CPU, as far as the tree tells."""

    core: PCpu
    """The lowest CPU of its core: SMT siblings have the same."""
    package: int | None = None
    """Its socket; None: the tree does not tell."""
    node: int | None = None
    """Its NUMA node; None: a kernel without NUMA, or an imitation."""


def read_seat(tree: CpuTree, pcpu: PCpu) -> Seat:
    """Read where a CPU sits; what the tree does not tell stays unknown."""
    return Seat(
        core=_read_core(tree, pcpu),
        package=_read_package(tree, pcpu),
        node=_read_node(tree, pcpu),
    )


def _read_core(tree: CpuTree, pcpu: PCpu) -> PCpu:
    path = f"{CPU_DIR}/cpu{pcpu}/topology/thread_siblings_list"
    try:
        return PCpu(min(parse_cpulist(tree.read(path)), default=pcpu))
    except (SysfsError, ConfigError):
        return pcpu


def _read_package(tree: CpuTree, pcpu: PCpu) -> int | None:
    path = f"{CPU_DIR}/cpu{pcpu}/topology/physical_package_id"
    try:
        word = tree.read(path)
    except SysfsError:
        return None
    # Some virtual machines say -1.
    return int(word) if word.isascii() and word.isdigit() else None


def _read_node(tree: CpuTree, pcpu: PCpu) -> int | None:
    for path in (tree.cpu_dir / f"cpu{pcpu}").glob("node*"):
        if re.fullmatch(r"node[0-9]{1,5}", path.name):
            return int(path.name.removeprefix("node"))
    return None
