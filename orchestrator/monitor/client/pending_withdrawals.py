# SPDX-License-Identifier: Apache-2.0
"""Withdrawals of votes that the monitor has not yet processed.

Theory of operation: a monitor can die at any time, and until main notices it keeps
sending. Definitions and descriptors are sent to the next monitor anyway, but the end of
a vote is sent only once; if it is lost, the next monitor resumes the vote from the
shared table. So the monitor counts in that table how many of main's messages it has
processed, and main keeps each withdrawal until it is counted. What remains when the
monitor is dead is applied by main.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

from orchestrator.monitor.link.table import DONE_AT

if TYPE_CHECKING:
    from collections.abc import Callable

    from orchestrator.monitor.link.table import SharedTable


class PendingWithdrawals:
    """Counts the messages to one monitor.

    Synchronization: main's thread.
    """

    def __init__(self, table: SharedTable) -> None:
        self._table = table
        self._sent = 0
        self._waiting: deque[tuple[int, Callable[[], None]]] = deque()

    def reset(self, table: SharedTable) -> None:
        """Count from zero: the next monitor is about to start, with a new table."""
        self._table = table
        self._sent = 0

    def count(self, fallback: Callable[[], None] | None) -> None:
        """Count a message.

        Args:
            fallback: ends the votes that the message ends, without the monitor; None:
                it ends none.
        """
        self._sent += 1
        if fallback is not None:
            self._drop_done()
            self._waiting.append((self._sent, fallback))

    @property
    def sent_total(self) -> int:
        """How many messages have been sent."""
        return self._sent

    @property
    def done_total(self) -> int:
        """How many of them the monitor has processed; 0: it reports too many."""
        done = self._table.words[DONE_AT]
        return done if done <= self._sent else 0

    def _drop_done(self) -> None:
        while self._waiting and self._waiting[0][0] <= self.done_total:
            self._waiting.popleft()

    def apply_unacknowledged(self) -> None:
        """Apply what was sent but not processed: the monitor is dead."""
        self._drop_done()
        while self._waiting:
            _, fallback = self._waiting.popleft()
            fallback()
