# SPDX-License-Identifier: Apache-2.0
"""Compares the settings of taken clock groups with what was set.

Theory of operation: all groups are read in one call in a thread, which costs some
microseconds for each, beside other operations on them and the writes of the monitor. So
a difference is only a suspicion, and the controller lets it be read again.
"""

from __future__ import annotations

import asyncio
import time
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from orchestrator import events
from orchestrator.system.power_managers import find_running

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Iterable, Mapping

    from orchestrator.controller.actions import VerifyGroups
    from orchestrator.monitor.client.views import Grant
    from orchestrator.performer.call_pool import CallPool
    from orchestrator.power.held_groups import HeldGroups
    from orchestrator.power.obtained import ObtainedFrequencies

_PROC = Path("/proc")


class DriftDetector:
    """Verifies taken groups.

    Synchronization: `verify` in the asyncio thread; it reads in the pool's threads.
    """

    def __init__(
        self,
        held_groups: HeldGroups,
        grant_of: Callable[[int], Grant],
        calls: CallPool,
        key: Hashable,
        post: Callable[[events.GroupDrifted | events.DriverReplaced], None],
        obtained: ObtainedFrequencies,
    ) -> None:
        """Verify nothing yet.

        Args:
            held_groups: the groups.
            grant_of: returns what was last set for a group.
            calls: runs the calls about clock groups.
            key: of its calls there.
            post: receives the differences; nothing is posted for unchanged groups.
            obtained: gets the frequencies at which they run.
        """
        self._held_groups = held_groups
        self._grant_of = grant_of
        self._calls, self._key = calls, key
        self._post = post
        self._obtained = obtained
        self._loop = asyncio.get_running_loop()

    def verify(self, action: VerifyGroups) -> None:
        """Verify groups, now or later, in a thread."""
        if action.delay_s:
            self._loop.call_later(action.delay_s, self._submit, action.groups)
        else:
            self._submit(action.groups)

    def _submit(self, groups: tuple[int, ...]) -> None:
        grants = {number: self._grant_of(number) for number in groups}
        work = partial(self._work_verify, grants)
        self._calls.submit(self._key, f"verify {groups}", work)

    def _work_verify(self, grants: Mapping[int, Grant]) -> None:
        found = []
        for number, grant in grants.items():
            at_s = time.monotonic()
            if self._held_groups.is_replaced(number):
                self._post(events.DriverReplaced(number))
                continue
            change = self._held_groups.find_drift(number, grant.khz)
            if change is not None:
                found.append((number, change, grant.writes, at_s))
        self._note_obtained(grants)
        suspects = tuple(it.name for it in find_running(_PROC)) if found else ()
        for number, change, writes, at_s in found:
            self._post(events.GroupDrifted(number, change, writes, suspects, at_s))

    def _note_obtained(self, groups: Iterable[int]) -> None:
        if not self._obtained.is_wanted:
            return
        at_s = time.monotonic()
        read = self._held_groups.current_khz
        self._obtained.note({number: read(number) for number in groups}, at_s)
