# SPDX-License-Identifier: Apache-2.0
"""The parts of the monitor, in a thread, for tests of blocking guest calls."""

from __future__ import annotations

import os
import threading
from typing import TYPE_CHECKING, Self

from orchestrator.guest.port import Port
from orchestrator.monitor.process.loop import MAX_EVENTS

if TYPE_CHECKING:
    import socket
    from types import TracebackType

    from tests.monitor.in_process_monitor import InProcessMonitor


class ServingMonitor:
    """Runs the loop of a monitor while a test blocks.

    Synchronization: used by one thread; the monitor is used only by its thread.
    """

    def __init__(self, monitor: InProcessMonitor) -> None:
        self._monitor = monitor
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._serve)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stop.set()
        self._thread.join()

    def _serve(self) -> None:
        monitor = self._monitor
        while not self._stop.is_set():
            events = monitor.epoll_set.wait(0.02, MAX_EVENTS)
            monitor.loop.handle(events, monitor.now_ns)


def port_of(guest: socket.socket) -> Port:
    """Return a port on a duplicate of the guest's end of a channel."""
    return Port(os.dup(guest.fileno()))
