# SPDX-License-Identifier: Apache-2.0
"""Finds out whether another program changed a clock group that is taken.

Theory of operation: all groups are read in one call, which costs some microseconds for
each. The monitor may write a frequency at the same time, and main may release a group;
so a difference is only a suspicion. It is confirmed by a second call that excludes
other operations on the group, and reads several times: the monitor stores a grant right
after writing it, so a difference that stays the same is not the monitor's.
"""

from __future__ import annotations

import time
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from orchestrator import events
from orchestrator.system.power_managers import find_running

if TYPE_CHECKING:
    from collections.abc import Callable

    from orchestrator.controller.actions import VerifyGroups
    from orchestrator.performer.call_pool import CallPool
    from orchestrator.power.held_groups import HeldGroups

READINGS = 3
READING_INTERVAL_S = 0.03
"""Longer than the monitor takes between writing a frequency and storing it, even if it
has to wait for a CPU."""
_PROC = Path("/proc")


class DriftDetector:
    """Verifies taken groups.

    Synchronization: `verify` in any thread; it reads in the pool's threads.
    """

    def __init__(
        self,
        held_groups: HeldGroups,
        read_grant: Callable[[int], int | None],
        calls: CallPool,
        post: Callable[[events.GroupDrifted], None],
    ) -> None:
        """Verify nothing yet.

        Args:
            held_groups: the groups.
            read_grant: returns the last frequency in kHz that was set for a group;
                called in the pool's threads.
            calls: runs the calls about clock groups.
            post: receives the outcomes; nothing is posted for unchanged groups.
        """
        self._held_groups = held_groups
        self._read_grant = read_grant
        self._calls = calls
        self._post = post

    def verify(self, action: VerifyGroups) -> None:
        """Verify groups, later, in a thread."""
        work = partial(self._work_verify, action.groups)
        self._calls.submit(("verify", action.groups), "verify", work)

    def _work_verify(self, groups: tuple[int, ...]) -> None:
        for number in groups:
            if self._read(number) is not None:
                work = partial(self._work_confirm, number)
                self._calls.submit(number, "confirm drift", work)

    def _read(self, number: int) -> str | None:
        return self._held_groups.find_drift(number, self._read_grant(number))

    def _work_confirm(self, number: int) -> None:
        change = self._read(number)
        for _ in range(READINGS - 1):
            time.sleep(READING_INTERVAL_S)
            if change is None or self._read(number) != change:
                return
        if change is not None:
            suspects = tuple(manager.name for manager in find_running(_PROC))
            at_s = time.monotonic()
            self._post(events.GroupDrifted(number, change, suspects, at_s))
