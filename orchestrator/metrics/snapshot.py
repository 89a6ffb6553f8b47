# SPDX-License-Identifier: Apache-2.0
"""What a scrape copies once for all of its sources: counters and frequencies."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, NamedTuple

from orchestrator.controller.group_lifecycle import GroupStage

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from orchestrator.controller.inventory import Inventory
    from orchestrator.monitor.client.views import Totals
    from orchestrator.power.obtained import ObtainedFrequencies

LATELY_S = 15.0
"""How old a reading may be: Prometheus reads about as often."""
_MISSED_VERIFICATIONS = 3
"""As old it may be at least, in intervals of the verification."""
_HZ_PER_KHZ = 1_000


class Snapshot(NamedTuple):
    """Counters of the monitor, and frequencies in Hz by number of the clock group."""

    totals: Totals
    granted_hz: Mapping[int, float]
    """Of taken groups."""
    obtained_hz: Mapping[int, float]
    """Of groups that were read lately, taken or not."""


class SnapshotTaker:
    """Copies counters from the shared table, and frequencies that are known.

    Synchronization: the asyncio thread only.
    """

    def __init__(
        self,
        inventory: Inventory,
        totals: Callable[[], Totals],
        obtained: ObtainedFrequencies,
        now_s: Callable[[], float] = time.monotonic,
    ) -> None:
        """Copy nothing yet.

        Args:
            inventory: what main knows.
            totals: copies what the monitor has counted.
            obtained: what was last read.
            now_s: the time (monotonic).
        """
        self._inventory = inventory
        self._totals = totals
        self._obtained = obtained
        self._now_s = now_s

    def take(self) -> Snapshot:
        """Copy everything."""
        groups, totals = self._inventory.groups, self._totals()
        verify_s = self._inventory.config.power.verify_s
        lately_s = max(LATELY_S, _MISSED_VERIFICATIONS * verify_s)
        obtained = self._obtained.since(self._now_s() - lately_s)
        return Snapshot(
            totals=totals,
            granted_hz={
                number: khz * _HZ_PER_KHZ
                for number, khz in totals.grants.items()
                if khz and number in groups and groups[number].stage is GroupStage.TAKEN
            },
            obtained_hz={n: khz * _HZ_PER_KHZ for n, khz in obtained.items()},
        )
