# SPDX-License-Identifier: Apache-2.0
"""Events on their way to the controller.

Theory of operation: threads post events faster than the asyncio thread reacts, such as
the descriptions of all domains. Waking that thread costs more than many a reaction; so
it is woken once for all events that are posted until it runs.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from orchestrator.events import Event


class EventQueue:
    """Events in the order in which they were posted.

    Synchronization: `post` from any thread; created in the asyncio thread.
    """

    def __init__(self, react: Callable[[Event], None]) -> None:
        """Queue nothing yet.

        Args:
            react: called with each event, in the asyncio thread.
        """
        self._react = react
        self._loop = asyncio.get_running_loop()
        self._waiting: deque[Event] = deque()
        self._is_woken = False
        """Whether `_react_to_waiting` is about to run."""

    def post(self, event: Event) -> None:
        """Queue an event."""
        self._waiting.append(event)
        if not self._is_woken:
            self._wake()

    def _wake(self) -> None:
        self._is_woken = True
        # Once the loop is closed, events have no effect any more.
        with contextlib.suppress(RuntimeError):
            self._loop.call_soon_threadsafe(self._react_to_waiting)

    def _react_to_waiting(self) -> None:
        # First: an event that is posted from now on wakes the loop again.
        self._is_woken = False
        try:
            for _ in range(len(self._waiting)):
                self._react(self._waiting.popleft())
        except BaseException:
            self._wake()  # a defect in one reaction delays no other
            raise
