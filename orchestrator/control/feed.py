# SPDX-License-Identifier: Apache-2.0
"""Recent events in rings, and readers that follow them."""

from __future__ import annotations

import asyncio
from collections import deque
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from orchestrator.control.models import EventRecord
from orchestrator.values.event_kinds import GRANT

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Iterable, Mapping, Sequence

    from orchestrator.control.models.events import Fact

RECENT_EVENTS = 4_000
"""Events kept for later readers: several busy hours, and about 2 MB."""
RECENT_GRANTS = 1_000
"""Frequency changes kept beside them, so that these never displace events."""
_US_PER_S = 1_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class EventSelection:
    """The events that a reader gets."""

    follow: bool = False
    """Whether to wait for more events."""
    clocks: bool = True
    """Whether to include frequency changes."""
    after: int = 0
    """Only events with a higher ID."""
    last: int = 0
    """The latest ones of those that are recorded, at most so many; 0: all."""
    domain: str = ""
    """Only events about the domain of this name; empty: all."""
    kinds: frozenset[str] = frozenset()
    """Only events of these kinds; empty: all."""
    since: datetime | None = None
    until: datetime | None = None

    @property
    def has_grants(self) -> bool:
        """Whether it includes frequency changes."""
        is_kind = not self.kinds or GRANT in self.kinds
        return self.clocks and is_kind and not self.domain

    def matches(self, record: EventRecord) -> bool:
        """Whether an event belongs to it, apart from its ID."""
        return (
            (not self.domain or record.domain == self.domain)
            and (not self.kinds or record.kind in self.kinds)
            and (self.since is None or record.time >= self.since)
            and (self.until is None or record.time <= self.until)
        )


ALL_RECENT = EventSelection()
"""All recorded events."""


class EventFeed:
    """Recent events, for any number of readers.

    Each event gets an ID: microseconds of the wall clock, and always above the last
    one, so that IDs grow over restarts of the daemon and of the host. A reader is only
    a position in each ring, so a reader that never reads costs no memory; it gets one
    event of the kind `missed` in place of those that it missed.
    Synchronization: the asyncio thread only.
    """

    def __init__(self, capacity: int = RECENT_EVENTS) -> None:
        self._events = _Ring(capacity)
        self._grants = _Ring(min(capacity, RECENT_GRANTS))
        self._last_id = _microseconds(datetime.now(UTC))
        self._first_id = self._last_id + 1
        """Events before this one are not known."""
        self._news = asyncio.Event()
        self._is_closed = False
        self._grant_followers = 0

    @property
    def are_clocks_followed(self) -> bool:
        """Whether a reader follows frequency changes."""
        return self._grant_followers > 0

    def restore(self, records: Sequence[EventRecord]) -> None:
        """Add the events of an earlier run of the daemon, before the first new one."""
        for record in records:
            self._events.append(record)
        if records:
            self._first_id = records[0].id
            self._last_id = max(self._last_id, records[-1].id)

    def publish(
        self,
        time: datetime,
        kind: str,
        text: str,
        *,
        domain: str | None = None,
        facts: Mapping[str, Fact] | None = None,
    ) -> EventRecord:
        """Record an event, wake the readers that follow, and return it.

        Args:
            time: when it happened.
            kind: one of `values.event_kinds`.
            text: one line.
            domain: name of the domain concerned, if any.
            facts: values from the text.
        """
        self._last_id = max(self._last_id + 1, _microseconds(time))
        record = EventRecord(
            id=self._last_id,
            time=time,
            kind=kind,
            domain=domain,
            text=text,
            facts=dict(facts or {}),
        )
        ring = self._grants if kind == GRANT else self._events
        ring.append(record)
        self._wake()
        return record

    def mentions(self, domain: str) -> bool:
        """Whether an event is about a domain of this name."""
        return any(record.domain == domain for record in self._events.records)

    def close(self) -> None:
        """End all readers once they have read what is in the rings."""
        self._is_closed = True
        self._wake()

    async def read(
        self, selection: EventSelection = ALL_RECENT
    ) -> AsyncGenerator[EventRecord, None]:
        """Yield recorded events in order, and with `follow` those until `close`."""
        rings = (
            (self._events, self._grants) if selection.has_grants else (self._events,)
        )
        cursors = [_Cursor(ring, self._begin(rings, selection)) for ring in rings]
        is_following_grants = selection.follow and selection.has_grants
        self._grant_followers += is_following_grants
        try:
            if 0 < selection.after < self._first_known() - 1:
                yield self._missed("events before these are no longer recorded")
            while True:
                if missed := sum(cursor.skip() for cursor in cursors):
                    yield self._missed(
                        f"this reader missed {missed} events", events=missed
                    )
                if record := _next(cursors):
                    if selection.matches(record):
                        yield record
                elif not selection.follow or self._is_closed:
                    return
                else:
                    await self._news.wait()
        finally:
            self._grant_followers -= is_following_grants

    def _begin(self, rings: Iterable[_Ring], selection: EventSelection) -> int:
        """Return the ID after which a reader begins."""
        if not selection.last:
            return selection.after
        found = sorted(
            record.id
            for ring in rings
            for record in ring.records
            if record.id > selection.after and selection.matches(record)
        )
        has_more = len(found) > selection.last
        return found[-selection.last - 1] if has_more else selection.after

    def _first_known(self) -> int:
        records = self._events.records
        is_full = self._events.appended > len(records)
        return records[0].id if is_full else self._first_id

    def _missed(self, text: str, **facts: int) -> EventRecord:
        return EventRecord(
            id=self._first_known() - 1,
            time=datetime.now(UTC),
            kind="missed",
            domain=None,
            text=text,
            facts=dict(facts),
        )

    def _wake(self) -> None:
        # For the readers that wait now; later ones wait for the next event.
        self._news.set()
        self._news.clear()


class _Ring:
    """The latest events of one sort."""

    def __init__(self, capacity: int) -> None:
        self.records: deque[EventRecord] = deque(maxlen=capacity)
        self.appended = 0

    @property
    def oldest(self) -> int:
        """The position of the first one that is still there."""
        return self.appended - len(self.records)

    def append(self, record: EventRecord) -> None:
        """Append an event in place of the oldest."""
        self.records.append(record)
        self.appended += 1


class _Cursor:
    """The position of one reader in one ring."""

    def __init__(self, ring: _Ring, after: int) -> None:
        self._ring = ring
        newer = 0
        for record in reversed(ring.records):
            if record.id <= after:
                break
            newer += 1
        self._position = ring.appended - newer

    def skip(self) -> int:
        """Move to the oldest event that is there; return how many were missed."""
        missed = max(0, self._ring.oldest - self._position)
        self._position += missed
        return missed

    def peek(self) -> EventRecord | None:
        """Return the next event; None: there is none yet."""
        if self._position == self._ring.appended:
            return None
        return self._ring.records[self._position - self._ring.oldest]

    def advance(self) -> None:
        """Move to the next event."""
        self._position += 1


def _next(cursors: Iterable[_Cursor]) -> EventRecord | None:
    """Take the next event of all rings, by its ID."""
    heads = [(record.id, cursor) for cursor in cursors if (record := cursor.peek())]
    if not heads:
        return None
    _, first = min(heads, key=lambda head: head[0])
    record = first.peek()
    first.advance()
    return record


def _microseconds(time: datetime) -> int:
    return int(time.timestamp() * _US_PER_S)
