# SPDX-License-Identifier: Apache-2.0
"""The idle states of a CPU, and which of them a limit of the wake-up latency permits.

Source: Documentation/admin-guide/pm/cpuidle.rst of the kernel;
drivers/base/power/sysfs.c (pm_qos_resume_latency_us), include/linux/pm_qos.h.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from orchestrator.errors import SysfsError
from orchestrator.power.sysfs import CPU_DIR

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from orchestrator.power.sysfs import CpuTree

NO_LATENCY = "n/a"
"""What the kernel writes for a latency of zero: the CPU polls while it is idle."""
NO_LIMIT = "0"
"""What the kernel writes for no limit."""


class IdleState(NamedTuple):
    """One of the kernel's idle states of a CPU."""

    name: str
    latency_us: int
    """Time to leave it, in microseconds."""


def format_latency(us: int) -> str:
    """Return a longest permitted latency as the kernel writes it."""
    return str(us) if us else NO_LATENCY


def parse_latency(word: str) -> float | None:
    """Return a limit in microseconds; infinity: no limit; None: invalid."""
    if word == NO_LATENCY:
        return 0.0
    if not (word.isascii() and word.isdigit()):
        return None
    return float(word) if int(word) else float("inf")


def read_idle_states(tree: CpuTree, pcpu: int) -> tuple[IdleState, ...]:
    """Read the idle states of a CPU, the shallowest first; empty: not reported."""
    return tuple(_read(tree, f"{CPU_DIR}/cpu{pcpu}/cpuidle"))


def _read(tree: CpuTree, directory: str) -> Iterator[IdleState]:
    number = 0
    while True:
        state = f"{directory}/state{number}"
        try:
            name, latency = tree.read(f"{state}/name"), tree.read(f"{state}/latency")
        except SysfsError:
            return
        if latency.isascii() and latency.isdigit():
            yield IdleState(name, int(latency))
        number += 1


def permitted(states: Iterable[IdleState], limit: str) -> tuple[str, ...]:
    """Return the names of the states that a limit permits, as the kernel decides.

    Args:
        states: of a CPU.
        limit: as the kernel writes it.
    """
    limit_us = parse_latency(limit)
    if limit_us is None:
        return ()
    return tuple(state.name for state in states if state.latency_us <= limit_us)
