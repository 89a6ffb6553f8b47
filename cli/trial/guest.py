# SPDX-License-Identifier: Apache-2.0
"""The process of a simulated guest: `python -m cli.trial.guest DIR NAME VCPUS KIND`.

It does what QEMU and a guest do together: it listens on the sockets of its channels,
and what is sent there is what `vmpower-guest auto` sends, by the same code. Only the
work of its vCPUs is made up: it rises and falls, and takes the longer the lower the
frequency is that the host reports.
"""

from __future__ import annotations

import math
import os
import queue
import socket
import sys
import threading
import time
import zlib
from enum import StrEnum
from pathlib import Path

from cli.trial.domains import channel_path
from cli.trial.places import proc_of
from cli.trial.run_times import RunTimes
from orchestrator.errors import AnswerMissing, HostAbsent, PortAbsent, RequestRefused
from orchestrator.guest.auto import LoadFollower
from orchestrator.guest.clock import VCpuClock
from orchestrator.guest.port import Port
from orchestrator.guest.stepping import POLLING, Thresholds

_INTERVAL_S = 0.25
_PERIOD_S = 20.0
_LEAST_KHZ, _MOST_KHZ = 150_000, 1_250_000
_UNKNOWN_KHZ = 3_000_000
"""The frequency of a vCPU as long as the host has not reported one."""


class GuestKind(StrEnum):
    """What a guest does while it has no work."""

    POLLING = "polling"
    """It polls, so that its vCPUs run all the time."""
    SLEEPING = "sleeping"
    """It sleeps."""


def needed_khz(at_s: float, phase: float) -> float:
    """Return how many cycles per millisecond the work takes at a time.

    Args:
        at_s: seconds since any moment.
        phase: 0 to 1, where in its period the work begins.
    """
    angle = 2 * math.pi * (at_s / _PERIOD_S + phase)
    share = 0.5 - 0.5 * math.cos(angle) * math.cos(angle / 3)
    return _LEAST_KHZ + share * (_MOST_KHZ - _LEAST_KHZ)


class SimulatedVCpu:
    """One vCPU, its work, and the guest's end of its channel.

    Synchronization: one thread, beside the one that accepts.
    """

    def __init__(self, path: Path, number: int, thresholds: Thresholds) -> None:
        """Listen on the socket of the channel.

        Args:
            path: of the socket; it also decides when there is how much work.
            number: of the vCPU.
            thresholds: when its frequency follows its load.

        Raises:
            OSError: the socket cannot be created.
        """
        self._number = number
        self._phase = zlib.crc32(path.name.encode()) / 2**32
        self._thresholds = thresholds
        self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._listener.bind(str(path))
        self._listener.listen(1)
        self._accepted: queue.SimpleQueue[socket.socket] = queue.SimpleQueue()
        # At once, as QEMU does: vmpowerd soon takes a channel that is not accepted for
        # one that another program uses.
        threading.Thread(target=self._accept_all, daemon=True).start()
        self._clock: VCpuClock | None = None
        self._follower: LoadFollower | None = None
        self._khz = _UNKNOWN_KHZ

    def work(self, at_s: float) -> float:
        """Do the work of a moment, and request the frequency for it; return the load.

        Args:
            at_s: seconds since any moment.
        """
        self._connect()
        load = min(1.0, needed_khz(at_s, self._phase) / self._khz)
        if self._clock is not None and self._follower is not None:
            try:
                self._khz = self._clock.query_freq() or self._khz
                self._follower.follow(load)
            except (AnswerMissing, RequestRefused):
                pass  # the next moment tries again
            except (HostAbsent, PortAbsent):
                self._disconnect()
        return load

    def _accept_all(self) -> None:
        while True:
            self._accepted.put(self._listener.accept()[0])

    def _connect(self) -> None:
        """Use the daemon's next connection, if there is one, instead of the last."""
        try:
            accepted = self._accepted.get_nowait()
        except queue.Empty:
            return
        self._disconnect()
        port = Port(accepted.detach(), f"channel {self._number}")
        self._clock = VCpuClock(self._number, port=port)
        self._follower = LoadFollower(self._clock, self._thresholds, _ignore)

    def _disconnect(self) -> None:
        if self._clock is not None:
            self._clock.exit()
        self._clock = self._follower = None


def _ignore(*_request: object) -> None:
    """Report no request."""


def run(directory: Path, name: str, vcpus: int, kind: GuestKind) -> None:
    """Run a guest until its process ends.

    Raises:
        OSError: a socket or a file cannot be created.
    """
    is_polling = kind is GuestKind.POLLING
    thresholds = POLLING if is_polling else Thresholds()
    simulated = [
        SimulatedVCpu(channel_path(directory, name, vcpu), vcpu, thresholds)
        for vcpu in range(vcpus)
    ]
    times = RunTimes(proc_of(directory), os.getpid(), vcpus)
    now_s = time.monotonic()
    while True:
        before_s, now_s = now_s, time.monotonic()
        loads = [vcpu.work(now_s) for vcpu in simulated]
        ran_s = now_s - before_s
        times.add([ran_s * (1.0 if is_polling else load) for load in loads])
        time.sleep(_INTERVAL_S)


if __name__ == "__main__":
    run(Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]), GuestKind(sys.argv[4]))
