"""Asks the daemon again and again, beside the keyboard."""

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
"""Part of a core that watching may cost: a core-second a minute, and some room."""
_SLOWEST_S = 10.0
_EVENTS_KEPT = 500
_EVENTS_AGAIN_S = 1.0


@dataclass(frozen=True, slots=True)
class Look:
    """The daemon's status at one moment of the monotonic clock."""

    status: Status
    at_s: float


@dataclass(frozen=True, slots=True)
class Lost:
    """The daemon does not answer."""

    reason: str


News: TypeAlias = Look | Lost


class Feeder:
    """Two threads: one asks for the status, one follows the events.

    They end with the process at the latest: a daemon that hangs must not keep the
    person waiting. Synchronization: `take`, `events` and `is_paused` are for one
    other thread.
    """

    def __init__(self, path: Path, delay_s: float, wake: Callable[[], None]) -> None:
        """Prepare.

        Args:
            path: the control socket.
            delay_s: the shortest time between two looks.
            wake: called from a thread when there is news.
        """
        self.is_paused = False
        self._path = path
        self._delay_s = delay_s
        self._wake = wake
        self._news: queue.SimpleQueue[News] = queue.SimpleQueue()
        self._events: deque[EventRecord] = deque(maxlen=_EVENTS_KEPT)
        self._stop = threading.Event()

    def start(self) -> None:
        """Begin."""
        for target in (self._look, self._follow):
            threading.Thread(target=target, daemon=True).start()

    def stop(self) -> None:
        """Ask the threads to end."""
        self._stop.set()

    def take(self) -> list[News]:
        """Return what is new."""
        news = list[News]()
        while not self._news.empty():
            news.append(self._news.get())
        return news

    def events(self) -> tuple[EventRecord, ...]:
        """Return the latest events, the newest last."""
        return tuple(self._events.copy())

    def _look(self) -> None:
        spent_s = time.process_time()
        with ControlClient(self._path) as client:
            delay_s = self._delay_s
            while not self._stop.wait(delay_s):
                if not self.is_paused:
                    self._news.put(_ask(client))
                    self._wake()
                now_s = time.process_time()
                delay_s = next_delay_s(self._delay_s, delay_s, now_s - spent_s)
                spent_s = now_s

    def _follow(self) -> None:
        with ControlClient(self._path) as client:
            while not self._stop.is_set():
                # The other thread tells the person that the daemon is gone.
                with contextlib.suppress(ControlError):
                    self._collect(client)
                self._stop.wait(_EVENTS_AGAIN_S)

    def _collect(self, client: ControlClient) -> None:
        is_first = True
        # Clocks are on the screen already, and they change all the time.
        for event in client.events(follow=True, clocks=False):
            if is_first:
                # A stream begins with what the daemon remembers.
                self._events.clear()
                is_first = False
            self._events.append(event)
            if self._stop.is_set():
                return


def next_delay_s(wanted_s: float, last_s: float, spent_s: float) -> float:
    """Return the time to wait until the next look, so that watching stays cheap.

    Args:
        wanted_s: what the person asked for.
        last_s: the delay before the look that was just taken.
        spent_s: CPU time of this process since the look before it.
    """
    needed_s = min(_SLOWEST_S, spent_s / BUDGET)
    # Half of the way: one expensive moment is no reason to become slow.
    return max(wanted_s, (last_s + needed_s) / 2)


def _ask(client: ControlClient) -> News:
    try:
        return Look(client.status(), time.monotonic())
    except ControlError as error:
        return Lost(str(error))
