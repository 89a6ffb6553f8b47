# SPDX-License-Identifier: Apache-2.0
"""Recent events in a ring, and readers that follow it."""

from __future__ import annotations

import asyncio
from collections import deque
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from orchestrator.control.models import EventRecord

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

CLOCK_KIND = "grant"
"""Kind of the events that report frequency changes, which are frequent."""
RECENT_EVENTS = 1000
"""Events kept for later readers: a busy hour, and about 0.5 MB."""


class EventFeed:
    """Recent events, for any number of readers.

    A reader is only a position in the ring, so a reader that never reads costs no
    memory; it gets one event of the kind `missed` in place of those that it missed.
    Synchronization: the asyncio thread only.
    """

    def __init__(self, capacity: int = RECENT_EVENTS) -> None:
        self._ring: deque[EventRecord] = deque(maxlen=capacity)
        self._published = 0
        self._news = asyncio.Event()
        self._is_closed = False
        self._clock_followers = 0

    @property
    def are_clocks_followed(self) -> bool:
        """Whether a reader follows frequency changes."""
        return self._clock_followers > 0

    def publish(self, record: EventRecord) -> None:
        """Append an event and wake the readers that follow."""
        self._ring.append(record)
        self._published += 1
        self._wake()

    def close(self) -> None:
        """End all readers once they have read what is in the ring."""
        self._is_closed = True
        self._wake()

    async def read(
        self, *, follow: bool, clocks: bool = True
    ) -> AsyncGenerator[EventRecord, None]:
        """Yield the events in the ring, and with `follow` those until `close`.

        Args:
            follow: whether to wait for more events.
            clocks: whether to include frequency changes.
        """
        position = self._published - len(self._ring)
        self._clock_followers += follow and clocks
        try:
            while True:
                oldest = self._published - len(self._ring)
                if position < oldest:
                    yield _missed(oldest - position)
                    position = oldest
                elif position < self._published:
                    record = self._ring[position - oldest]
                    position += 1
                    if clocks or record.kind != CLOCK_KIND:
                        yield record
                elif not follow or self._is_closed:
                    return
                else:
                    await self._news.wait()
        finally:
            self._clock_followers -= follow and clocks

    def _wake(self) -> None:
        # A new flag for later readers; those that wait now hold the old one.
        self._news.set()
        self._news = asyncio.Event()


def _missed(count: int) -> EventRecord:
    return EventRecord(
        time=datetime.now(UTC),
        kind="missed",
        domain=None,
        text=f"this reader missed {count} events",
        facts={"events": count},
    )
