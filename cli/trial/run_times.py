# SPDX-License-Identifier: Apache-2.0
"""The run times of a simulated guest, as files of an imitated /proc.

A simulated guest takes hardly any time of the host, and the times of its vCPUs are
those that it would take. vmpowerd accounts their energy as it does for threads of QEMU.

Source: proc(5); `orchestrator.sampling.qemu_times`, which reads the files.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

_NS_PER_S = 1_000_000_000
_TICKS_PER_S = os.sysconf("SC_CLK_TCK")


class RunTimes:
    """The files of one process, with a thread for each vCPU.

    The files are rewritten in place and keep their size, because vmpowerd has them
    open.

    Synchronization: one thread.
    """

    def __init__(self, proc: Path, pid: int, vcpus: int) -> None:
        """Create the files.

        Args:
            proc: the imitated /proc.
            pid: of the process, which numbers the directory.
            vcpus: number of vCPUs.

        Raises:
            OSError: a file cannot be created.
        """
        directory = proc / str(pid)
        self._stat = directory / "stat"
        self._schedstats = []
        for vcpu in range(vcpus):
            task = directory / "task" / str(vcpu)
            task.mkdir(parents=True)
            (task / "comm").write_text(f"CPU {vcpu}/SIM\n", encoding="ascii")
            self._schedstats.append(task / "schedstat")
        self._ran_s = [0.0] * vcpus
        self._write_all()

    def add(self, seconds: list[float]) -> None:
        """Let vCPUs run for some time each.

        Raises:
            OSError: a file cannot be written.
        """
        self._ran_s = [a + b for a, b in zip(self._ran_s, seconds, strict=True)]
        self._write_all()

    def _write_all(self) -> None:
        for path, ran_s in zip(self._schedstats, self._ran_s, strict=True):
            _write(path, f"{round(ran_s * _NS_PER_S):020} 0 0\n")
        ticks = round(sum(self._ran_s) * _TICKS_PER_S)
        _write(self._stat, f"0 (simulated) S{' 0' * 10} {ticks:020} 0\n")


def _write(path: Path, text: str) -> None:
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        os.pwrite(fd, text.encode("ascii"), 0)
    finally:
        os.close(fd)
