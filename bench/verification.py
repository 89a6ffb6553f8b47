# SPDX-License-Identifier: Apache-2.0
"""What it costs to verify taken clock groups, and to read the kernel's limits.

The files are those of simulated CPUs in memory; the kernel's own take about as long to
read. The reference reads the same files and does nothing with them.
"""

from __future__ import annotations

import os
import threading
import time
from typing import TYPE_CHECKING

from bench.errors import BenchError
from bench.figures import Verification
from bench.workspace import make_workspace
from orchestrator.config import PowerConfig
from orchestrator.power.held_groups import HeldGroups
from orchestrator.power.held_limits import HeldLimits
from orchestrator.power.journal import JOURNAL_NAME, Journal
from orchestrator.power.limit_journal import LIMIT_JOURNAL_NAME, LimitJournal
from orchestrator.power.sysfs import CpuTree
from orchestrator.power.topology import read_topology

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

GROUPS = 64
_VALUE_BYTES = 256
_PAUSE_S = 0.25


def measure_verification(turns: int) -> Verification:
    """Take 64 clock groups, and verify all of them a number of times.

    Raises:
        BenchError: they could not be taken.
    """
    with make_workspace(channels=0, per_domain=1, cpus=GROUPS) as workspace:
        tree = CpuTree(workspace.tree)
        workspace.run_dir.mkdir(mode=0o700)
        journal = Journal(workspace.run_dir / JOURNAL_NAME, tree)
        groups = HeldGroups(tree, journal, fallback_governor="schedutil")
        try:
            return _measure(groups, workspace.run_dir, turns)
        finally:
            groups.restore_all()


def _measure(groups: HeldGroups, run_dir: Path, turns: int) -> Verification:
    topology, numbers = read_topology(groups.tree), range(GROUPS)
    khz = topology.groups[0].steps.lowest_khz
    if refused := groups.prepare(topology, numbers):
        raise BenchError(f"clock groups not taken: {refused}")
    fds: list[int] = []
    for number in numbers:
        groups.take(number)
        held = groups.held(number)
        if held is not None:
            held.writer.write(b"%d\n" % khz)
            fds += (*held.writer.fds, *held.original_fds)
    limits = HeldLimits(
        groups.tree, LimitJournal(run_dir / LIMIT_JOURNAL_NAME, groups.tree)
    )

    def verify() -> None:
        if any(groups.find_drift(number, khz) for number in numbers):
            raise BenchError("a clock group differs from what was set")

    return Verification(
        groups=GROUPS,
        interval_s=PowerConfig().verify_s,
        drift_us=_time(verify, turns),
        limits_us=_time(lambda: limits.refresh(numbers), turns),
        reads_us=_time(lambda: [os.pread(fd, _VALUE_BYTES, 0) for fd in fds], turns),
    )


def _time(work: Callable[[], object], turns: int) -> float:
    """Return the CPU time in microseconds that one call takes, on average.

    There is a pause before each call, as in the daemon: the caches are cold.
    """
    work()
    pause, took_ns = threading.Event(), 0
    for _ in range(turns):
        pause.wait(_PAUSE_S)
        before_ns = time.thread_time_ns()
        work()
        took_ns += time.thread_time_ns() - before_ns
    return took_ns / turns / 1e3
