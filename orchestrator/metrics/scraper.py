# SPDX-License-Identifier: Apache-2.0
"""Assembles all metrics for one client after the other.

Theory of operation: the sources are read in the asyncio thread, with other work of the
loop between them: a few milliseconds for 1,024 vCPUs. Writing the text takes longer and
happens in a thread. prometheus_client is imported there with the first scrape: it takes
25 ms, and a daemon that no program scrapes does not need it.
"""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

from orchestrator.metrics import families
from orchestrator.metrics.family import Observations, Samples
from orchestrator.metrics.host import single

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from orchestrator.control.service import Exposition
    from orchestrator.metrics.family import Source
    from orchestrator.metrics.snapshot import Snapshot


class Scraper:
    """Answers scrapes.

    Synchronization: the asyncio thread only.
    """

    def __init__(
        self, take_snapshot: Callable[[], Snapshot], sources: Sequence[Source]
    ) -> None:
        """Read nothing yet.

        Args:
            take_snapshot: copies what all sources have in common.
            sources: what the families are read from, in the order of the text.
        """
        self._take_snapshot = take_snapshot
        self._sources = tuple(sources)
        self._turn = asyncio.Lock()
        self._count = 0
        self._took_s = 0.0

    async def scrape(self, accept: str) -> Exposition:
        """Return all metrics in the format that suits an Accept header."""
        async with self._turn:
            began_s = time.monotonic()
            samples, snapshot = [self._own()], self._take_snapshot()
            for source in self._sources:
                samples += source.read(snapshot)
                await asyncio.sleep(0)
            exposition = await asyncio.to_thread(_expose, samples, accept)
            self._count += 1
            self._took_s += time.monotonic() - began_s
            return exposition

    def _own(self) -> Samples:
        taken = Observations(total=self._took_s, number=self._count)
        return single(families.SCRAPE_DURATION, taken)


def _expose(samples: Sequence[Samples], accept: str) -> Exposition:
    from orchestrator.metrics.exposition import expose

    return expose(samples, accept)
