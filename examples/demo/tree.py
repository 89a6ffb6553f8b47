# SPDX-License-Identifier: Apache-2.0
"""Chooses the CPUs of the demo, and reads their files for a comparison."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from examples.guests.cache import GuestError
from orchestrator.power.simulated import lay_out
from orchestrator.power.sysfs import CPU_DIR, CpuTree
from orchestrator.power.topology import read_topology
from orchestrator.values.domain import PCpu

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable
    from pathlib import Path

    from orchestrator.power.group import ClockGroup

_SETTINGS = (
    "scaling_governor",
    "scaling_setspeed",
    "scaling_min_freq",
    "scaling_max_freq",
    "scaling_driver",
)
"""Files of the kernel's tree that are compared; measured values such as
scaling_cur_freq are not."""


def simulate_cpus(
    directory: Path, driver: str, count: int
) -> tuple[CpuTree, tuple[PCpu, ...]]:
    """Create simulated CPUs, and choose those that guests can be pinned to.

    They are repeated if there are too few, because libvirt refuses CPUs that the host
    does not have, even if they are simulated.
    """
    allowed = sorted(os.sched_getaffinity(0))
    pins = tuple(PCpu(allowed[i % len(allowed)]) for i in range(count))
    lay_out(directory, cpus=max(pins) + 1, driver=driver)
    return CpuTree(directory), pins


def controllable_cpus(tree: CpuTree, count: int) -> tuple[PCpu, ...]:
    """Choose CPUs whose frequency can be set, of different clock groups if possible.

    Raises:
        GuestError: this host has none, or permission is denied.
    """
    topology = read_topology(tree)
    allowed = os.sched_getaffinity(0)
    groups = [group for group in topology.groups if group.pcpus & allowed]
    if not groups:
        reasons = sorted(set(topology.unmanaged.values())) or ["no CPUs"]
        raise GuestError(
            f"no frequency of this host can be set ({reasons[0]}); without --host-cpus,"
            " the demo uses simulated CPUs"
        )
    if os.geteuid() != 0:
        raise GuestError("--host-cpus requires root, to set frequencies")
    firsts = [min(group.pcpus & allowed) for group in groups]
    return tuple(firsts[i % len(firsts)] for i in range(count))


def groups_of(tree: CpuTree, pcpus: Collection[PCpu]) -> tuple[ClockGroup, ...]:
    """Return the clock groups of these CPUs, by number.

    Raises:
        GuestError: the frequency of one of them cannot be set.
    """
    topology = read_topology(tree)
    for pcpu in pcpus:
        if pcpu in topology.unmanaged:
            reason = topology.unmanaged[pcpu]
            raise GuestError(f"CPU {pcpu} is unmanaged: {reason}")
    found = {group.number: group for p in pcpus if (group := topology.group_of(p))}
    return tuple(found[number] for number in sorted(found))


def read_files(tree: CpuTree, groups: Iterable[ClockGroup]) -> dict[str, bytes]:
    """Return the contents of all files that the daemon could change, by path.

    Those are all files of a simulated tree, or the settings of `groups`.
    """
    if tree.is_simulated:
        paths = [path for path in tree.root.rglob("*") if not path.is_dir()]
    else:
        policies = tree.root / CPU_DIR / "cpufreq"
        names = (f"policy{g.number}/{name}" for g in groups for name in _SETTINGS)
        paths = [path for name in names if (path := policies / name).exists()]
    return {str(path.relative_to(tree.root)): _content(path) for path in paths}


def _content(path: Path) -> bytes:
    if path.is_symlink():
        return os.fsencode(path.readlink())
    return path.read_bytes()
