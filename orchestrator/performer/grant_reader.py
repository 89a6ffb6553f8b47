# SPDX-License-Identifier: Apache-2.0
"""Reads what the monitor has granted, for the accounting of energy."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from orchestrator.performer.energy_sampler import GroupGrant

if TYPE_CHECKING:
    from collections.abc import Collection

    from orchestrator.energy.grants import GrantTimes
    from orchestrator.monitor.client.views import Grant


class Grants(Protocol):
    """What the monitor has granted."""

    def grant_of(self, group: int) -> Grant:
        """Return what was last set for a group."""
        ...

    def grant_times(self, group: int) -> GrantTimes | None:
        """Return for how long each step was granted to a group; None: unknown."""
        ...


class GrantReader:
    """Reads the grants of clock groups, and their times only after a change.

    Synchronization: one thread.
    """

    def __init__(self, monitor: Grants) -> None:
        self._monitor = monitor
        self._known: dict[int, tuple[Grant, GroupGrant]] = {}

    def read(self, groups: Collection[int]) -> dict[int, GroupGrant]:
        """Return the grants of groups that are taken."""
        for number in groups:
            grant = self._monitor.grant_of(number)
            known = self._known.get(number)
            if known is None or known[0] != grant:
                times = self._monitor.grant_times(number)
                self._known[number] = (grant, GroupGrant(grant.khz, times))
        return {number: self._known[number][1] for number in groups}
