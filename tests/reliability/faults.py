# SPDX-License-Identifier: Apache-2.0
"""Faults at a chosen system call of vmpowerd, its monitor or vmpower.

`faults.c` is preloaded into the processes; both sides map one file (`struct control`
there). Only calls on files below the watched directory count, and those on the socket
between the two processes.
"""

from __future__ import annotations

import mmap
import os
from dataclasses import dataclass
from enum import IntEnum
from pathlib import Path
from typing import TYPE_CHECKING

from bench.programs import compile_program

if TYPE_CHECKING:
    from os import PathLike

SOURCE = Path(__file__).with_name("faults.c")
HANDOFF = "handoff"
"""What the trace calls the socket between main and the monitor."""
CONTROL_VARIABLE = "VMPOWER_TEST_FAULTS"
"""Environment variable with the path of the control file."""


class Process(IntEnum):
    """Whose calls count."""

    NONE = 0
    MAIN = 1
    """Main, or the command."""
    MONITOR = 2


class Fault(IntEnum):
    """What happens at the call."""

    RECORD = 0
    """Nothing."""
    STOP_BEFORE = 1
    """SIGSTOP before the call."""
    STOP_AFTER = 2
    """SIGSTOP after the call."""
    FAIL = 3
    """The call is not made and returns an error."""
    FAIL_ONWARDS = 4
    """So do all later calls of its kind, until `disarm`. Only calls on files count."""


@dataclass(frozen=True, slots=True)
class Point:
    """A call at which something happens."""

    process: Process
    at: int
    """The number of the call from the moment of arming, from 1."""
    fault: Fault
    error: int = 0
    """errno of calls that fail."""


_WORDS = (
    *("process", "at", "fault", "error", "calls", "is_reached", "monitor_pid"),
    *("trace_bytes", "activity"),
)
"""The 32-bit fields of `struct control`, in its order; then three texts."""
_FAILING_AT = 4 * len(_WORDS)
_WATCHED_AT = _FAILING_AT + 16
_TRACE_AT = _WATCHED_AT + 256
_TRACE_BYTES = 1 << 16


class Faults:
    """The control file, and the library that obeys it.

    Synchronization: one thread; the processes write what they count.
    """

    def __init__(self, directory: Path) -> None:
        """Compile the library into a directory, and create the control file there.

        Raises:
            BenchError: there is no C compiler, or it failed.
        """
        self._library = directory / "faults.so"
        compile_program(SOURCE, self._library, "-shared", "-fPIC")
        self._file = directory / "control"
        self._file.write_bytes(bytes(_TRACE_AT + _TRACE_BYTES))
        with self._file.open("r+b") as file:
            self._memory = mmap.mmap(file.fileno(), 0)
        self._words = memoryview(self._memory)[:_FAILING_AT].cast("I")

    @property
    def environment(self) -> dict[str, str]:
        """The variables for a process in which faults shall happen."""
        return {
            "LD_PRELOAD": str(self._library),
            CONTROL_VARIABLE: str(self._file),
        }

    def watch(self, directory: PathLike[str]) -> None:
        """Forget everything; count calls on files below a directory."""
        self.disarm()
        path = os.fsencode(directory)
        self._memory[:_TRACE_AT] = bytes(_WATCHED_AT) + path.ljust(256, b"\0")

    def arm(self, point: Point) -> None:
        """Count from now on, and let the fault of a point happen."""
        self.disarm()
        for name in ("calls", "is_reached", "trace_bytes"):
            self._write(name, 0)
        self._memory[_FAILING_AT:_WATCHED_AT] = bytes(16)
        self._write("at", point.at)
        self._write("fault", point.fault)
        self._write("error", point.error)
        self._write("process", point.process)

    def disarm(self) -> None:
        """Count no more calls."""
        self._write("process", Process.NONE)

    @property
    def activity(self) -> int:
        """The number of calls of both processes, armed or not."""
        return self._read("activity")

    @property
    def is_reached(self) -> bool:
        """Whether the point was reached since `arm`."""
        return bool(self._read("is_reached"))

    @property
    def monitor_pid(self) -> int | None:
        """The monitor that was started last."""
        return self._read("monitor_pid") or None

    def trace(self) -> list[str]:
        """Return the calls since `arm`, such as `fsync /tmp/run/restore.json.new`."""
        end = _TRACE_AT + min(self._read("trace_bytes"), _TRACE_BYTES)
        return os.fsdecode(self._memory[_TRACE_AT:end]).splitlines()

    def _read(self, name: str) -> int:
        return self._words[_WORDS.index(name)]

    def _write(self, name: str, value: int) -> None:
        self._words[_WORDS.index(name)] = value
