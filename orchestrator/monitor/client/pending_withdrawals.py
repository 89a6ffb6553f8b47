"""Ends of votes that main has told a monitor which may have been dead already.

Theory of operation: a monitor dies without a word, and until main notices it goes on
talking. What is defined and handed over the next monitor is told anyway; but the end of
a vote is said once, and lost with whoever was to hear it: the next monitor would take
the vote up from the shared table. So the monitor counts in that table how many of
main's messages it has done, and main keeps each end of a vote until it is counted. What
is left when the monitor is dead main does itself.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

from orchestrator.monitor.link.table import DONE_AT

if TYPE_CHECKING:
    from collections.abc import Callable

    from orchestrator.monitor.link.table import SharedTable


class PendingWithdrawals:
    """Counts what one monitor is told.

    Synchronization: main's thread.
    """

    def __init__(self, table: SharedTable) -> None:
        self._words = table.words
        self._sent = 0
        self._waiting: deque[tuple[int, Callable[[], None]]] = deque()

    def reset(self) -> None:
        """Count from zero: the next monitor is about to start."""
        self._sent = 0
        self._words[DONE_AT] = 0

    def count(self, undone: Callable[[], None] | None) -> None:
        """Count a message.

        Args:
            undone: does in the monitor's stead what the message ends; None: nothing.
        """
        self._sent += 1
        if undone is not None:
            self._drop_done()
            self._waiting.append((self._sent, undone))

    @property
    def sent_total(self) -> int:
        """How many messages there were."""
        return self._sent

    def is_done(self, number: int) -> bool:
        """Say whether so many messages are done."""
        return self._words[DONE_AT] >= number

    def _drop_done(self) -> None:
        while self._waiting and self.is_done(self._waiting[0][0]):
            self._waiting.popleft()

    def apply_unacknowledged(self) -> None:
        """Do what was told and not done: the monitor is dead."""
        self._drop_done()
        while self._waiting:
            _, undone = self._waiting.popleft()
            undone()
