# SPDX-License-Identifier: Apache-2.0
"""Metrics of the daemon, its two connections, and the answers of the monitor."""

from __future__ import annotations

from itertools import accumulate
from typing import TYPE_CHECKING

from orchestrator import __version__
from orchestrator.metrics import families
from orchestrator.metrics.family import Observations, Samples
from orchestrator.monitor.link.table import LATENCY_UNIT_BITS
from orchestrator.values.domain_settings import Mode
from orchestrator.values.event_kinds import EVENT_KINDS, GRANT, MISSED

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from orchestrator.controller.inventory import Inventory
    from orchestrator.metrics.family import Family
    from orchestrator.metrics.snapshot import Snapshot
    from orchestrator.monitor.client.views import Totals

_COUNTED_KINDS = [kind for kind in EVENT_KINDS if kind not in (GRANT, MISSED)]


def single(family: Family, value: float | Observations) -> Samples:
    """Return the only sample of a family without labels."""
    return Samples(family, [((), value)])


class HostSource:
    """Reads the inventory, the shared table and the number of events.

    Synchronization: the asyncio thread only.
    """

    def __init__(
        self,
        inventory: Inventory,
        event_counts: Mapping[str, int],
        started: datetime,
    ) -> None:
        """Read nothing yet.

        Args:
            inventory: what main knows.
            event_counts: events by kind; read at each scrape.
            started: when the daemon was.
        """
        self._inventory = inventory
        self._event_counts = event_counts
        self._started_s = started.timestamp()

    def read(self, snapshot: Snapshot) -> list[Samples]:
        """Return the samples of the families about the daemon."""
        inventory, totals, counts = self._inventory, snapshot.totals, self._event_counts
        libvirt, config = inventory.libvirt, inventory.config
        return [
            Samples(families.BUILD_INFO, [((__version__,), 1)]),
            single(families.START_TIME, self._started_s),
            single(families.ENFORCING, config.mode is Mode.ENFORCE),
            single(families.LIBVIRT_CONNECTED, libvirt.is_connected),
            single(families.LIBVIRT_RECONNECTS, libvirt.reconnects_total),
            single(families.MONITOR_UP, inventory.is_monitor_up),
            single(families.MONITOR_RESTARTS, inventory.monitor_restarts_total),
            Samples(
                families.EVENTS,
                [((kind,), counts.get(kind, 0)) for kind in _COUNTED_KINDS],
            ),
            single(families.REQUEST_LATENCY, _latency(totals)),
            single(families.WRITES, totals.writes),
            single(families.REFUSED_WRITES, totals.refused_writes),
            single(families.CHANNEL_BUDGET, config.channels.budget),
            single(families.QUARANTINES, inventory.occurrences.quarantines),
        ]


def _latency(totals: Totals) -> Observations:
    counts = list(accumulate(totals.latencies))
    bounds_s = ((1 << LATENCY_UNIT_BITS << n) / 1e9 for n in range(len(counts)))
    return Observations(
        total=totals.latency_sum_ns / 1e9,
        number=counts[-1],
        buckets=tuple(zip(bounds_s, counts, strict=True)),
    )
