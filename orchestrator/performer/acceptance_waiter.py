# SPDX-License-Identifier: Apache-2.0
"""Waits until connections are accepted.

Theory of operation: one thread asks the kernel about all connections that are due, so
that a channel that another program holds delays no other. After a check it rests while
more connections become due: when thousands of channels are connected at once, a few
checks are enough for all.

Synchronization: the asyncio thread only, except for `_work_check`.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from functools import partial
from typing import TYPE_CHECKING

from orchestrator.channel.acceptance import Acceptances, find_problems
from orchestrator.performer.call_pool import CallPool

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from orchestrator.channel.acceptance import Connection
    from orchestrator.errors import EndpointContended

    Conclude = Callable[[EndpointContended | None], None]

REST_FACTOR = 9
"""How much longer a rest is than the check before: checks take a tenth of a CPU."""


class AcceptanceWaiter:
    """The connections that wait."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._calls = CallPool("acceptance", size=1)
        self._acceptances = Acceptances()
        self._conclusions: dict[Connection, Conclude] = {}
        self._timer: asyncio.TimerHandle | None = None
        self._is_checking = False
        self._rests_until_s = 0.0

    def add(self, connection: Connection, conclude: Conclude) -> None:
        """Let a connection wait.

        Args:
            connection: its socket is the caller's again when the wait ends.
            conclude: called then, with the reason if the connection cannot be used.
        """
        self._conclusions[connection] = conclude
        self._acceptances.add(connection)
        self._schedule()

    def stop(self) -> None:
        """Drop what waits."""
        if self._timer is not None:
            self._timer.cancel()
        self._calls.stop()

    def _schedule(self) -> None:
        due_s = self._acceptances.next_check_s
        if due_s is None or self._is_checking:
            return
        when_s = max(due_s, self._rests_until_s)
        if self._timer is not None:
            if self._timer.when() <= when_s:
                return
            self._timer.cancel()
        self._timer = self._loop.call_at(when_s, self._check)

    def _check(self) -> None:
        self._timer = None
        self._is_checking = True
        due = self._acceptances.take_due(self._loop.time())
        self._calls.submit("check", "check", partial(self._work_check, due))

    def _work_check(self, due: Sequence[Connection]) -> None:
        began_s = time.thread_time()
        problems = find_problems(due)
        rest_s = REST_FACTOR * (time.thread_time() - began_s)
        # Once the loop is closed, the process is about to end.
        with contextlib.suppress(RuntimeError):
            self._loop.call_soon_threadsafe(self._on_checked, due, problems, rest_s)

    def _on_checked(
        self,
        due: Sequence[Connection],
        problems: Mapping[Connection, EndpointContended],
        rest_s: float,
    ) -> None:
        now_s = self._loop.time()
        self._is_checking = False
        self._rests_until_s = now_s + rest_s
        for connection in due:
            problem = problems.get(connection)
            if problem is None or not self._acceptances.keep(connection, now_s):
                self._conclusions.pop(connection)(problem)
        self._schedule()
