# SPDX-License-Identifier: Apache-2.0
"""Keeps the history: samples, and writes once a minute.

Theory of operation: what vCPUs are held by is sampled every ten seconds, in pieces
between which the loop runs other work. Once a minute, the minute goes to a thread that
writes it. If the disk hangs, the minutes that wait are combined by dropping the oldest;
the daemon never waits for it.

Synchronization: the asyncio thread only, except for `_work_write` and `read`.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import deque
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from orchestrator.errors import StateError
from orchestrator.history.collector import ChannelCounts, Collector, DomainCounts
from orchestrator.history.holds import Hold, HoldCause, VCpuState, find_holds
from orchestrator.history.minute import EventRow, Requests
from orchestrator.performer.call_pool import CallPool
from orchestrator.system.ticks import wait_for_tick

if TYPE_CHECKING:
    from collections.abc import Callable

    from orchestrator.control.models import EventRecord
    from orchestrator.controller.inventory import Inventory
    from orchestrator.controller.records import DomainRecord
    from orchestrator.energy.residency import EnergyInterval
    from orchestrator.history.minute import Minute
    from orchestrator.history.ranges import Found, Range
    from orchestrator.history.store import HistoryStore
    from orchestrator.limits import Limits, Window
    from orchestrator.monitor.client.client import Monitor
    from orchestrator.monitor.client.views import MonitorSnapshot
    from orchestrator.rights import Rights
    from orchestrator.values.domain import DomainId

logger = logging.getLogger(__name__)

SAMPLE_S = 10.0
SAMPLES_PER_MINUTE = 6
_PIECE = 32
"""vCPUs, of some microseconds each, after which the loop runs other work."""
MAX_WAITING = 10
"""Minutes that wait for a disk that hangs."""
MAX_WRITE_S = 1.0
"""Longer than writing the last minute takes on a working disk."""


def _wall_s() -> float:
    return datetime.now(UTC).timestamp()


class _Windows:
    """The steps that vCPUs may have, for one sample: most domains have the same."""

    def __init__(self, inventory: Inventory) -> None:
        self._inventory = inventory
        self._known: dict[tuple[int, Limits, bool], Window] = {}

    def find(self, rights: Rights, group: int) -> Window:
        """Return those of a domain with some rights, in a clock group."""
        key = group, rights.limits, bool(rights.turbo.value)
        window = self._known.get(key)
        if window is None:
            window = self._known[key] = self._inventory.vcpu_window(rights, group)
        return window


class HistoryKeeper:
    """Writes the history of this daemon."""

    def __init__(
        self,
        *,
        inventory: Inventory,
        monitor: Monitor,
        store: HistoryStore | None,
        watts: Callable[[int], float],
    ) -> None:
        """Begin nothing yet.

        Args:
            inventory: the domains and clock groups.
            monitor: has the counters and votes.
            store: the file; None: no history is kept.
            watts: the power of a busy core at a frequency in kHz.
        """
        self._inventory = inventory
        self._monitor = monitor
        self._store = store
        self._calls = CallPool("history", size=1) if store else None
        self._collector = Collector(_wall_s(), time.monotonic(), watts)
        self._waiting: deque[Minute] = deque(maxlen=MAX_WAITING)
        self._task: asyncio.Task[None] | None = None
        self.problem = ""
        """Why the last minute could not be written; empty: it could."""

    def start(self) -> None:
        """Begin to sample and to write."""
        if self._store is not None:
            self._task = asyncio.create_task(self._run())

    def add_energy(self, interval: EnergyInterval) -> None:
        """Add an interval of the energy accounting."""
        if self._store is not None:
            self._collector.add_energy(interval)

    def add_event(self, record: EventRecord) -> None:
        """Add an event."""
        if self._store is None:
            return
        self._collector.add_event(
            EventRow(
                number=record.id,
                at_s=record.time.timestamp(),
                kind=record.kind,
                domain=record.domain or "",
                text=record.text,
            )
        )

    async def read(self, wanted: Range) -> Found | None:
        """Read a range of the history; None: none is kept.

        Raises:
            StateError: the file cannot be read.
        """
        if self._store is None:
            return None
        return await asyncio.to_thread(self._store.read, wanted)

    def stop(self) -> None:
        """End sampling; before the monitor's counters are gone."""
        if self._task is None:
            return
        self._task.cancel()
        self._task = None
        self._finish_minute()

    def close(self) -> None:
        """Write what waits; blocks for MAX_WRITE_S at most."""
        if self._store is None or self._calls is None:
            return
        self._calls.stop()
        if self._calls.join(MAX_WRITE_S):
            self._work_write()
            self._store.close()

    async def _run(self) -> None:
        # A daemon that has just started connects channels first.
        await asyncio.sleep(SAMPLE_S)
        while True:
            for _ in range(SAMPLES_PER_MINUTE):
                await wait_for_tick(SAMPLE_S)
                await self._sample()
            self._finish_minute()

    async def _sample(self) -> None:
        snapshot = self._monitor.snapshot()
        windows = _Windows(self._inventory)
        holds: dict[DomainId, list[Hold]] = {}
        waited = 0
        for uuid, record in list(self._inventory.domains.items()):
            if (
                self._inventory.domains.get(uuid) is record
                and record.spec.state.is_executing
            ):
                holds[uuid] = self._holds_of(record, snapshot, windows)
                waited += len(record.placements)
            if waited >= _PIECE:
                waited = 0
                await asyncio.sleep(0)
        self._collector.add_holds(holds, time.monotonic())

    def _holds_of(
        self, record: DomainRecord, snapshot: MonitorSnapshot, windows: _Windows
    ) -> list[Hold]:
        inventory, found = self._inventory, list[Hold]()
        rights = record.rights(inventory.config)
        for vcpu, placement in record.placements.items():
            group = inventory.groups.get(placement.group or 0)
            if placement.group is None or group is None or placement.refusal:
                found.append(Hold(HoldCause.FLOATING, 0, 0))
                continue
            state = VCpuState(
                vote_khz=snapshot.votes_khz.get((record.spec.uuid, int(vcpu))),
                window=windows.find(rights, placement.group),
                grant_khz=snapshot.grants.get(placement.group),
                is_enforced=record.is_enforced(),
                is_overridden=group.override_khz is not None,
                has_host_cpus=group.sent is not None and group.sent.has_host_cpus,
            )
            found += find_holds(state)
        return found

    def _finish_minute(self) -> None:
        counts = self._count()
        minute = self._collector.finish(counts, _wall_s(), time.monotonic())
        self._waiting.append(minute)
        if self._calls is not None:
            self._calls.submit("history", "write", self._work_write)

    def _count(self) -> dict[DomainId, DomainCounts]:
        snapshot = self._monitor.snapshot()
        counts: dict[DomainId, dict[int, ChannelCounts]] = {
            uuid: {}
            for uuid, record in self._inventory.domains.items()
            if record.spec.state.is_executing
        }
        for uuid, number in snapshot.channels:
            if uuid in counts:
                counters = snapshot.channels[uuid, number]
                counts[uuid][number] = ChannelCounts(
                    Requests(
                        total=counters.requests,
                        refused=counters.nacks,
                        late=counters.late,
                        dropped=counters.dropped,
                    ),
                    counters.nack_reasons,
                )
        found = {}
        for uuid, channels in counts.items():
            record = self._inventory.domains[uuid]
            name, vcpus = record.spec.name, len(record.placements)
            found[uuid] = DomainCounts(name, channels, vcpus)
        return found

    # In the thread

    def _work_write(self) -> None:
        while self._store is not None and self._waiting:
            minute = self._waiting.popleft()
            try:
                self._store.add(minute)
            except StateError as error:
                if str(error) != self.problem:
                    logger.warning("the history is incomplete: %s", error)
                self.problem = str(error)
                return
            self.problem = ""
            if self._store.set_aside:
                logger.warning(
                    "the history could not be used: set aside as %s",
                    self._store.set_aside,
                )
                self._store.set_aside = None
