# SPDX-License-Identifier: Apache-2.0
"""The CPUs of this host and what uses them, for proposing free ones."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from domain_templates.pinning import Host
from orchestrator.errors import ConfigError
from orchestrator.power.cpus import read_host_cpus
from orchestrator.power.sysfs import CpuTree
from orchestrator.values.cpuset import parse_cpulist
from orchestrator.values.domain import PCpu

if TYPE_CHECKING:
    from collections.abc import Iterator

    from orchestrator.hypervisor.operator import OperatorConnection

_PROC = Path("/proc")


def read_host(connection: OperatorConnection, sysfs_root: Path) -> Host:
    """Read CPUs from the kernel, domains from libvirt, other programs from /proc.

    Raises:
        SysfsError: there is no CPU tree.
        HypervisorError: libvirt returned an error.
    """
    tree = CpuTree(sysfs_root)
    # CPU numbers of a simulated tree have nothing to do with this host's programs.
    taken = {} if tree.is_simulated else dict(_bound_programs())
    planned: dict[PCpu, str] = {}
    for domain in connection.list_pinned():
        users = taken if domain.is_active else planned
        users.update(dict.fromkeys(domain.pcpus, f"domain '{domain.name}'"))
    return Host(cpus=read_host_cpus(tree), taken=taken, planned=planned)


def _bound_programs() -> Iterator[tuple[PCpu, str]]:
    """Find programs that are bound to some CPUs, such as polling switches."""
    default = frozenset(os.sched_getaffinity(0))
    for status in _PROC.glob("[0-9]*/task/[0-9]*/status"):
        with suppress(OSError, ConfigError):  # the thread ended meanwhile
            name, cpus = _affinity(status)
            if cpus and not cpus >= default and _is_program(status):
                yield from ((PCpu(cpu), f"'{name}'") for cpu in cpus)


def _affinity(status: Path) -> tuple[str, frozenset[int]]:
    lines = status.read_text(encoding="utf-8", errors="replace").splitlines()
    facts = dict(line.partition(":\t")[::2] for line in lines)
    return facts.get("Name", ""), parse_cpulist(facts.get("Cpus_allowed_list", ""))


def _is_program(status: Path) -> bool:
    # Kernel threads, which exist for each CPU, have no command line.
    return bool((status.parents[2] / "cmdline").read_bytes())
