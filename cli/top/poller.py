# SPDX-License-Identifier: Apache-2.0
"""Requests status and events from the daemon in threads, beside the keyboard."""

from __future__ import annotations

import contextlib
import queue
import threading
import time
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

from orchestrator.control.client import ControlClient
from orchestrator.errors import ControlError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from orchestrator.control.documents import EventRecord, Status

BUDGET = 0.8 / 60
"""CPU time that the dashboard may use: a second per minute, less a margin."""
_MAX_DELAY_S = 10.0
_MAX_EVENTS = 500
_RECONNECT_S = 1.0


@dataclass(frozen=True, slots=True)
class Sample:
    """The daemon's status at one moment of the monotonic clock."""

    status: Status
    at_s: float


@dataclass(frozen=True, slots=True)
class Unreachable:
    """The daemon does not respond."""

    reason: str


Update: TypeAlias = Sample | Unreachable


class Poller:
    """Two threads: one requests the status, one follows the events.

    They are daemon threads: a daemon that hangs must not delay the exit.
    Synchronization: `take_updates`, `events` and `is_paused` are for one other thread.
    """

    def __init__(self, path: Path, delay_s: float, wake: Callable[[], None]) -> None:
        """Prepare.

        Args:
            path: of the control socket.
            delay_s: the shortest time between two requests.
            wake: called from a thread when there is an update.
        """
        self.is_paused = False
        self._path = path
        self._delay_s = delay_s
        self._wake = wake
        self._updates: queue.SimpleQueue[Update] = queue.SimpleQueue()
        self._events: deque[EventRecord] = deque(maxlen=_MAX_EVENTS)
        self._stop = threading.Event()

    def start(self) -> None:
        """Start the threads."""
        for target in (self._poll, self._follow):
            threading.Thread(target=target, daemon=True).start()

    def stop(self) -> None:
        """Request the threads to end."""
        self._stop.set()

    def take_updates(self) -> list[Update]:
        """Return the updates since the last call."""
        updates = list[Update]()
        while not self._updates.empty():
            updates.append(self._updates.get())
        return updates

    def events(self) -> tuple[EventRecord, ...]:
        """Return the latest events, the newest last."""
        return tuple(self._events.copy())

    def _poll(self) -> None:
        spent_s = time.process_time()
        with ControlClient(self._path) as client:
            delay_s = self._delay_s
            while not self._stop.wait(delay_s):
                if not self.is_paused:
                    self._updates.put(_request(client))
                    self._wake()
                now_s = time.process_time()
                delay_s = next_delay_s(self._delay_s, delay_s, now_s - spent_s)
                spent_s = now_s

    def _follow(self) -> None:
        with ControlClient(self._path) as client:
            while not self._stop.is_set():
                # The other thread reports that the daemon does not respond.
                with contextlib.suppress(ControlError):
                    self._collect(client)
                self._stop.wait(_RECONNECT_S)

    def _collect(self, client: ControlClient) -> None:
        is_first = True
        # Frequency changes are frequent, and the screen shows them anyway.
        for event in client.events(follow=True, clocks=False, last=_MAX_EVENTS):
            if is_first:
                # A stream begins with all events that the daemon still has.
                self._events.clear()
                is_first = False
            self._events.append(event)
            if self._stop.is_set():
                return


def next_delay_s(wanted_s: float, last_s: float, spent_s: float) -> float:
    """Return the time to wait before the next request, to stay within the budget.

    Args:
        wanted_s: the interval that the user chose.
        last_s: the delay before the last request.
        spent_s: CPU time of this process since the request before that.
    """
    needed_s = min(_MAX_DELAY_S, spent_s / BUDGET)
    # Only halfway: one expensive request must not slow the display down at once.
    return max(wanted_s, (last_s + needed_s) / 2)


def _request(client: ControlClient) -> Update:
    try:
        return Sample(client.status(), time.monotonic())
    except ControlError as error:
        return Unreachable(str(error))
