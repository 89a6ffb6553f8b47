# SPDX-License-Identifier: Apache-2.0
"""Keeps the state file up to date.

Theory of operation: what operators have decided is written at each change, in a thread,
the latest state in place of those that wait. What guests have set changes too often for
that, and would be outdated after a crash: it is written once, at the orderly end.

Synchronization: the asyncio thread only, except for `_work_save`.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from typing import TYPE_CHECKING

from orchestrator.controller.saved_state import collect
from orchestrator.errors import StateError
from orchestrator.performer.call_pool import CallPool
from orchestrator.saved.state import SavedState, SavedVote

if TYPE_CHECKING:
    from orchestrator.controller.inventory import Inventory
    from orchestrator.monitor.client.client import Monitor
    from orchestrator.performer.policy_runner import PolicyRunner
    from orchestrator.saved.store import StateStore
    from orchestrator.values.domain import DomainId

logger = logging.getLogger(__name__)

MAX_SAVE_S = 1.0
"""Longer than writing the file takes on a working disk."""


class StateKeeper:
    """Writes the state file when a decision changes."""

    def __init__(
        self,
        *,
        inventory: Inventory,
        policy_runner: PolicyRunner,
        monitor: Monitor,
        store: StateStore,
    ) -> None:
        self._inventory = inventory
        self._policy_runner = policy_runner
        self._monitor = monitor
        self._store = store
        self._calls = CallPool("state", size=1)
        self._loop = asyncio.get_running_loop()
        self._is_due = False
        """Whether an update was requested and has not begun."""
        self._latest: tuple[int, SavedState | None] = (0, None)
        """The number of the last change, and the state; None: the file is unknown."""
        self._written = 0
        """The number of the change that was written last, or could not be."""
        self._is_written = asyncio.Event()
        self._problem = ""

    def load(self) -> SavedState:
        """Read the state of the daemon's last run.

        Raises:
            StateError: the kernel does not identify this boot.
        """
        return self._store.load()

    def update(self) -> None:
        """Write what operators have decided soon, if it has changed.

        What changes at once is collected once, from all domains: when all of them end,
        each end requests an update.
        """
        if not self._is_due:
            self._is_due = True
            self._loop.call_soon(self._update_now)

    def _update_now(self) -> None:
        if not self._is_due:
            return
        self._is_due = False
        state = self._collect({}).without_guests()
        number, latest = self._latest
        if state != latest:
            self._latest = (number + 1, state)
            self._calls.submit("state", "save", self._work_save)

    async def flush(self) -> None:
        """Wait until the changes so far are on disk, or cannot be written."""
        self._update_now()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(MAX_SAVE_S):
                number, _ = self._latest
                while self._written < number:
                    self._is_written.clear()
                    await self._is_written.wait()

    def save_all(self) -> None:
        """Write everything, guests' votes and policies included; blocks.

        To be called once, after the monitor has ended.
        """
        votes: dict[DomainId, list[SavedVote]] = {}
        for uuid, vote in self._monitor.votes():
            channel, has_turbo_right, is_connect_vote = vote.voter
            if channel is not None:
                saved = SavedVote(
                    vcpu=vote.vcpu,
                    group=vote.group,
                    khz=vote.khz,
                    channel=channel,
                    has_turbo_right=has_turbo_right,
                    is_connect_vote=is_connect_vote,
                )
                votes.setdefault(uuid, []).append(saved)
        state = self._collect({uuid: tuple(found) for uuid, found in votes.items()})
        self._calls.stop()
        self._calls.join(MAX_SAVE_S)
        self._save(state)

    def _collect(self, votes: dict[DomainId, tuple[SavedVote, ...]]) -> SavedState:
        return collect(self._inventory, self._policy_runner.statuses(), votes)

    def _work_save(self) -> None:
        number, state = self._latest
        if state is not None:
            self._save(state)
        # The loop may have been closed meanwhile.
        with contextlib.suppress(RuntimeError):
            self._loop.call_soon_threadsafe(self._on_written, number)

    def _save(self, state: SavedState) -> None:
        try:
            self._store.save(state)
        except StateError as error:
            if str(error) != self._problem:
                logger.error("decisions will not outlive a restart: %s", error)  # noqa: TRY400
            self._problem = str(error)
        else:
            self._problem = ""

    def _on_written(self, number: int) -> None:
        self._written = number
        self._is_written.set()
