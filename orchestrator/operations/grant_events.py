# SPDX-License-Identifier: Apache-2.0
"""Grants as events, while a client of the event stream follows them."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from orchestrator.controller.actions import Report
from orchestrator.values.cpuset import name_cpus
from orchestrator.values.event_kinds import GRANT
from orchestrator.values.units import format_khz

if TYPE_CHECKING:
    from orchestrator.control.feed import EventFeed
    from orchestrator.controller.inventory import Inventory
    from orchestrator.monitor.client.client import Monitor
    from orchestrator.reporting.event_log import EventLog

SAMPLE_INTERVAL_S = 0.25
"""How often grants are compared, while a client follows them: as often as a person can
read, and cheap."""


class GrantEvents:
    """Publishes the grants that have changed, as long as they are followed.

    Synchronization: the asyncio thread only.
    """

    def __init__(
        self,
        inventory: Inventory,
        monitor: Monitor,
        event_log: EventLog,
        feed: EventFeed,
    ) -> None:
        self._inventory = inventory
        self._monitor = monitor
        self._event_log = event_log
        self._feed = feed
        self._sampling: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin for a client that follows grants; ends when no client does."""
        if self._sampling is None:
            self._sampling = asyncio.create_task(self._sample())

    def stop(self) -> None:
        """End now."""
        if self._sampling:
            self._sampling.cancel()

    async def _sample(self) -> None:
        grants = self._monitor.snapshot().grants
        await asyncio.sleep(SAMPLE_INTERVAL_S)
        while self._feed.are_clocks_followed:
            now = self._monitor.snapshot().grants
            for number, khz in now.items():
                if khz is not None and grants.get(number) != khz:
                    self._event_log.publish(self._report(number, khz))
            grants = now
            await asyncio.sleep(SAMPLE_INTERVAL_S)
        self._sampling = None

    def _report(self, number: int, khz: int) -> Report:
        record = self._inventory.groups.get(number)
        cpus = name_cpus(record.group.pcpus if record else ())
        is_simulated = record is not None and record.group.is_simulated
        text = f"{cpus} at {format_khz(khz)}{' (simulated)' * is_simulated}"
        return Report(GRANT, text, facts={"group": number, "khz": khz})
