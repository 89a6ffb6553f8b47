# SPDX-License-Identifier: Apache-2.0
"""Two events of one CPU, counted by the kernel's perf and read together.

Source: perf_event_open(2). A group is counted together or not at all, so the ratio of
its events is right even if the kernel multiplexes the counters of a CPU.
"""

from __future__ import annotations

import ctypes
import errno
import fcntl
import os
import platform
import struct
from enum import Enum
from typing import NamedTuple

from orchestrator.sampling.contract import SamplingError

_SYSCALL_NUMBERS = {
    "x86_64": 298,
    "aarch64": 241,
    "riscv64": 241,
    "loongarch64": 241,
    "ppc64le": 319,
    "s390x": 331,
}
_ATTRIBUTES = struct.Struct("=IIQQQQQIIQ")
"""struct perf_event_attr in its first version: type, size, config, period, sample type,
read format, flags, wakeup, breakpoint type, config1."""
_FORMAT_GROUP = 8
_READ_FORMAT = 1 | 2 | _FORMAT_GROUP
"""PERF_FORMAT_TOTAL_TIME_ENABLED, _TOTAL_TIME_RUNNING, _GROUP."""
_DISABLED = 1
_FD_CLOEXEC = 8
_IOC_ENABLE, _IOC_GROUP = 0x2400, 1
_ANSWER = struct.Struct("=QQQQQ")
"""Number of events, time enabled, time running, and the two counts."""
_NO_COUNTER = frozenset({errno.ENOENT, errno.EOPNOTSUPP, errno.EINVAL, errno.ENOSYS})


class EventPair(Enum):
    """Two events to be counted together: perf's type, and its numbers of both."""

    BRANCHES = (0, 4, 5)
    """Retired and mispredicted branches (PERF_TYPE_HARDWARE)."""
    CLOCK_AND_SWITCHES = (1, 0, 3)
    """Nanoseconds and context switches (PERF_TYPE_SOFTWARE): every Linux has them;
    for tests on machines without branch counters."""


class PairCount(NamedTuple):
    """Counts since the pair was opened."""

    first: int
    second: int
    running_ns: int
    """For how long it was counting."""


class PairCounter:
    """An open pair of events of one CPU; counts everything that runs on it.

    Synchronization: one thread at a time.
    """

    def __init__(self, pcpu: int, pair: EventPair) -> None:
        """Open it; it counts from then on.

        Raises:
            SamplingError: the machine has no such counter, or the kernel forbids it.
        """
        kind, first, second = pair.value
        self._fds: list[int] = []
        try:
            self._fds.append(_open_event(kind, first, pcpu, -1))
            self._fds.append(_open_event(kind, second, pcpu, self._fds[0]))
            fcntl.ioctl(self._fds[0], _IOC_ENABLE, _IOC_GROUP)
        except OSError as error:
            self.close()
            raise SamplingError(explain(error, pcpu)) from error

    def read(self) -> PairCount:
        """Read both.

        Raises:
            SamplingError: the CPU has gone offline.
        """
        try:
            answer = os.read(self._fds[0], _ANSWER.size) if self._fds else b""
        except OSError as error:
            raise SamplingError(f"cannot read the counters: {error}") from error
        if len(answer) != _ANSWER.size:
            raise SamplingError("the counters are of a CPU that is offline")
        _, _, running_ns, first, second = _ANSWER.unpack(answer)
        return PairCount(first, second, running_ns)

    def close(self) -> None:
        """Stop counting; can be called more than once."""
        while self._fds:
            os.close(self._fds.pop())


def open_event(kind: int, config: int, pcpu: int) -> int:
    """Open a counter of a CPU, counting; return its descriptor, which the caller owns.

    A read returns three numbers of 64 bits: the count, time enabled, time running.

    Args:
        kind: perf's type.
        config: perf's number of the event.
        pcpu: the CPU.

    Raises:
        OSError: the machine has no such counter, or the kernel forbids it.
    """
    fd = _open_event(kind, config, pcpu, -1, _READ_FORMAT & ~_FORMAT_GROUP)
    try:
        fcntl.ioctl(fd, _IOC_ENABLE, 0)
    except OSError:
        os.close(fd)
        raise
    return fd


def _open_event(
    kind: int, config: int, pcpu: int, leader: int, read_format: int = _READ_FORMAT
) -> int:
    number = _SYSCALL_NUMBERS.get(platform.machine())
    if number is None:
        raise OSError(errno.ENOSYS, "unknown architecture")
    flags = _DISABLED if leader < 0 else 0
    attributes = ctypes.create_string_buffer(
        _ATTRIBUTES.pack(
            *(kind, _ATTRIBUTES.size, config, 0, 0, read_format, flags, 0, 0, 0)
        ),
        _ATTRIBUTES.size,
    )
    all_processes = -1
    arguments = (all_processes, pcpu, leader, _FD_CLOEXEC)
    libc = ctypes.CDLL(None, use_errno=True)
    libc.syscall.restype = ctypes.c_long
    fd = int(
        libc.syscall(
            ctypes.c_long(number), attributes, *(ctypes.c_long(x) for x in arguments)
        )
    )
    if fd < 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))
    return fd


def explain(error: OSError, pcpu: int) -> str:
    """Return why the counters of a CPU cannot be opened."""
    if error.errno in _NO_COUNTER:
        return "this machine has no branch counters"
    if error.errno in (errno.EACCES, errno.EPERM):
        return "the kernel does not permit counting (kernel.perf_event_paranoid)"
    return f"cannot count on CPU {pcpu}: {error.strerror}"
