# SPDX-License-Identifier: Apache-2.0
"""Decides whether the monitor process hangs, from its progress and its scheduling.

Theory of operation: main sends a message at each beat, and the monitor counts the
messages that it has processed. A monitor that has not processed one by the next beat
either hangs (stopped, blocked in a system call, in an endless loop) or has not been
given a CPU. Elapsed time does not distinguish the two. So the process is observed more
often from then on, and only time that it could have used is charged: while it is
runnable, the CPU time that it consumed; in any other state, the time since the last
observation. A process that waits for a CPU on a busy machine is never charged.

Source: man 5 proc (/proc/PID/stat).
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import NamedTuple

PERIOD_S = 1.0
"""Time between two beats, each of which costs some 0.2 ms of CPU time."""
SUSPECT_S = 0.25
"""Time between two observations of a process that missed a beat."""
HUNG_AFTER_S = 0.5
"""Time without progress that is charged at most. The message is then 1.5 s old, and
takes a millisecond; so a process that hangs is found 2.5 s later at most."""

_RUNNABLE = "R"
_STATE, _UTIME, _STIME = 0, 11, 12
"""Positions after the name of the program, which may contain spaces."""
_TICKS_PER_S = os.sysconf("SC_CLK_TCK")


class ProcessSample(NamedTuple):
    """The scheduling of a process at one moment."""

    state: str
    """One letter: R runnable, S sleeping, D blocked, T stopped."""
    cpu_s: float
    """CPU time that it has consumed, in seconds."""


def sample_process(pid: int) -> ProcessSample:
    """Read the state and CPU time of a process.

    Raises:
        OSError: no such process.
    """
    text = Path(f"/proc/{pid}/stat").read_text(encoding="ascii", errors="replace")
    fields = text.rpartition(")")[2].split()
    ticks = int(fields[_UTIME]) + int(fields[_STIME])
    return ProcessSample(fields[_STATE], ticks / _TICKS_PER_S)


class Heartbeat:
    """Charges a process that missed a beat with the time that it did not use.

    Pure: no clock, no process. Synchronization: the owner.
    """

    def __init__(self, hung_after_s: float = HUNG_AFTER_S) -> None:
        self._hung_after_s = hung_after_s
        self._charged_s = 0.0
        self._progress = -1
        self._observed_at_s = 0.0
        self._cpu_s = 0.0

    def is_hung(self, progress: int, sample: ProcessSample, now_s: float) -> bool:
        """Observe the process, and account for the time since the last observation.

        Args:
            progress: how many messages the process has processed.
            sample: its scheduling now.
            now_s: the time (monotonic).

        Returns:
            Whether the process made no progress for too long although it could have.
        """
        if progress != self._progress:
            self._charged_s = 0.0
        elif sample.state == _RUNNABLE:
            self._charged_s += sample.cpu_s - self._cpu_s
        else:
            # After a longer time main itself did not run, and perhaps no process did.
            self._charged_s += min(now_s - self._observed_at_s, SUSPECT_S)
        self._progress = progress
        self._observed_at_s, self._cpu_s = now_s, sample.cpu_s
        return self._charged_s >= self._hung_after_s
