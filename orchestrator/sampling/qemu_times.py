# SPDX-License-Identifier: Apache-2.0
"""For how long the threads of QEMU processes have run, from /proc.

A domain's process is known by the file that libvirt writes, and its vCPUs by the names
that QEMU gives their threads at libvirt's request (debug-threads=on). The name of the
program does not matter.

Source: proc(5); Documentation/scheduler/sched-stats.rst for schedstat, whose first
number is nanoseconds; mttcg_start_vcpu_thread and kvm_start_vcpu_thread of QEMU.
"""

from __future__ import annotations

import contextlib
import os
import re
from pathlib import Path
from typing import TYPE_CHECKING

from orchestrator.energy.observer import NS_PER_S, ThreadTimes

if TYPE_CHECKING:
    from collections.abc import Mapping

    from orchestrator.values.domain import DomainId

PROC = Path("/proc")
_VCPU = re.compile(r"CPU (\d+)/")
_MAX_BYTES = 1_024
_MOST_OPEN = 512
"""Threads whose files stay open; those of further ones are opened for each reading."""
_NS_PER_TICK = NS_PER_S // os.sysconf("SC_CLK_TCK")
_LOOK_AGAIN = 64
"""Readings after which missing vCPUs are looked for, and after 1, 2, 4 and so on."""
_UTIME = 11
"""Index of the field utime among those behind the name."""


class _Process:
    """One QEMU process, with the files of its vCPUs."""

    def __init__(self, directory: Path) -> None:
        self._stat = str(directory / "stat")
        self.is_kept_open = True
        self.reads = 0
        self.paths: dict[int, str] = {}
        self._fds: dict[str, int] = {}
        for task in (directory / "task").iterdir():
            with contextlib.suppress(OSError):  # a thread that has ended
                match = _VCPU.match((task / "comm").read_text())
                if match:
                    self.paths[int(match[1])] = str(task / "schedstat")

    def read(self) -> ThreadTimes:
        """Read all threads.

        Raises:
            OSError: the process, or a vCPU, has ended.
            ValueError: not in the kernel's format.
        """
        self.reads += 1
        vcpus = {
            vcpu: int(self._read(path).split(b" ", 1)[0])
            for vcpu, path in self.paths.items()
        }
        stat = self._read(self._stat)
        ticks = stat[stat.rindex(b")") + 1 :].split()[_UTIME : _UTIME + 2]
        total_ns = sum(map(int, ticks)) * _NS_PER_TICK
        return ThreadTimes(vcpus, total_ns - sum(vcpus.values()))

    def _read(self, path: str) -> bytes:
        fd = self._fds.get(path)
        if fd is None:
            fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
            self._fds[path] = fd
        data = os.pread(fd, _MAX_BYTES, 0)
        if not self.is_kept_open:
            os.close(self._fds.pop(path))
        return data

    def close(self) -> None:
        """Close all files."""
        while self._fds:
            os.close(self._fds.popitem()[1])


def _is_due(process: _Process, vcpus: int) -> bool:
    """Return whether to look again for vCPUs: QEMU may not have named them all yet."""
    is_complete = len(process.paths) >= vcpus
    is_early = process.reads & (process.reads - 1) == 0
    return not is_complete and (is_early or process.reads % _LOOK_AGAIN == 0)


class QemuTimes:
    """Run times of the threads of domains.

    Synchronization: one thread at a time.
    """

    def __init__(self, proc: Path = PROC) -> None:
        self._proc = proc
        self._processes: dict[DomainId, tuple[int, int, _Process]] = {}
        self._most_others: dict[DomainId, int] = {}
        self._threads = 0

    def read(
        self, wanted: Mapping[DomainId, tuple[int, int]]
    ) -> dict[DomainId, ThreadTimes]:
        """Read domains; those whose process is not there are left out.

        The threads of a process are found again if its number of vCPUs has changed, if
        one of them has ended, and now and then while some are missing.

        Args:
            wanted: process ID and number of vCPUs, by domain.
        """
        for gone in self._processes.keys() - wanted.keys():
            self._forget(gone)
        self._threads = sum(vcpus for _, vcpus in wanted.values())
        times = {}
        for uuid, (pid, vcpus) in wanted.items():
            known = self._processes.get(uuid)
            if known is None or known[:2] != (pid, vcpus) or _is_due(known[2], vcpus):
                self._forget(uuid)
            found = self._read(uuid, pid, vcpus)
            if found is not None:
                times[uuid] = found
        return times

    def _read(self, uuid: DomainId, pid: int, vcpus: int) -> ThreadTimes | None:
        try:
            if uuid not in self._processes:
                process = _Process(self._proc / str(pid))
                self._processes[uuid] = (pid, vcpus, process)
            process = self._processes[uuid][2]
            process.is_kept_open = self._threads <= _MOST_OPEN
            times = process.read()
        except (OSError, ValueError):
            self._forget(uuid)
            return None
        # The kernel counts a process in ticks, and threads in nanoseconds: the
        # difference must not go back.
        others = max(times.others, self._most_others.get(uuid, 0))
        self._most_others[uuid] = others
        return ThreadTimes(times.vcpus, others)

    def _forget(self, uuid: DomainId) -> None:
        known = self._processes.pop(uuid, None)
        self._most_others.pop(uuid, None)
        if known is not None:
            known[2].close()

    def close(self) -> None:
        """Close all files."""
        self.read({})


class IdleTime:
    """For how long the CPUs have been idle, all together.

    Synchronization: one thread at a time.
    """

    def __init__(self, proc: Path = PROC) -> None:
        self._path = proc / "uptime"

    def read(self) -> float | None:
        """Return seconds since the boot; None: the kernel does not report it."""
        try:
            return float(self._path.read_text(encoding="ascii").split()[1])
        except (OSError, ValueError, IndexError):
            return None
