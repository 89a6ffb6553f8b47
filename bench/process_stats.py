# SPDX-License-Identifier: Apache-2.0
"""The kernel's statistics of a process: CPU time, memory, writes.

Source: man 5 proc; include/linux/posix-timers_types.h of the kernel for the number of
another process's CPU clock, which clock_getcpuclockid(3) computes.
"""

from __future__ import annotations

import os
import resource
import time
from pathlib import Path

_CPUCLOCK_SCHED = 2


def read_cpu_ns(pid: int) -> int:
    """Return the CPU time of all threads of a process, in ns.

    Raises:
        OSError: no such process.
    """
    return time.clock_gettime_ns((~pid << 3) | _CPUCLOCK_SCHED)


def read_pss_bytes(pid: int) -> int | None:
    """Return a process's share of memory; None: permission denied (not root)."""
    text = _read(pid, "smaps_rollup")
    return None if text is None else _number(text, "Pss:") * 1024


def read_writes(pid: int) -> int | None:
    """Return the number of a process's writes; None: permission denied (not root).

    Answers are sent, not written, and so do not count.
    """
    text = _read(pid, "io")
    return None if text is None else _number(text, "syscw:")


def read_children(pid: int) -> tuple[int, ...]:
    """Return the child processes of a process that have not been reaped."""
    found = []
    for directory in Path("/proc").glob("[0-9]*"):
        try:
            stat = (directory / "stat").read_text()
        except OSError:  # it has just exited
            continue
        # The name, in parentheses, can contain anything; the parent is second after it.
        if int(stat.rpartition(")")[2].split()[1]) == pid:
            found.append(int(directory.name))
    return tuple(sorted(found))


def read_busy_s() -> float:
    """Return how long all CPUs together have been busy, or stolen, since boot."""
    line = Path("/proc/stat").read_text(encoding="ascii").partition("\n")[0]
    user, nice, system, _idle, _iowait, irq, softirq, steal, *_ = map(
        int, line.split()[1:]
    )
    ticks = user + nice + system + irq + softirq + steal
    return ticks / os.sysconf("SC_CLK_TCK")


def read_own_s() -> float:
    """Return the CPU time of this process and of its children that have exited."""
    usages = map(resource.getrusage, (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(usage.ru_utime + usage.ru_stime for usage in usages)


def _read(pid: int, name: str) -> str | None:
    try:
        return Path(f"/proc/{pid}/{name}").read_text(encoding="ascii")
    except (PermissionError, FileNotFoundError):
        return None


def _number(text: str, label: str) -> int:
    for line in text.splitlines():
        if line.startswith(label):
            return int(line.split()[1])
    raise ValueError(f"no {label} in /proc")
