"""What happened, told to people: the log, and a stream that can be followed."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from orchestrator.actions import Severity
from orchestrator.control.models import EventRecord

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from orchestrator.actions import Report

logger = logging.getLogger("orchestrator")

REMEMBERED = 1_000
"""Reports that a newcomer to the stream still sees: hours of a quiet host, and some
300 KB at most."""
BACKLOG = 1_000
"""Reports that a follower may lag behind before its stream is ended: it can come
again, but must not hold the daemon's memory."""

_LEVELS = {
    Severity.INFO: logging.INFO,
    Severity.WARNING: logging.WARNING,
    Severity.ERROR: logging.ERROR,
}


class Reports:
    """Logs every report and streams it to followers.

    Synchronization: the asyncio thread only.
    """

    def __init__(self) -> None:
        self._recent: deque[EventRecord] = deque(maxlen=REMEMBERED)
        self._followers: set[asyncio.Queue[EventRecord | None]] = set()

    @property
    def is_followed(self) -> bool:
        """Whether somebody is watching now."""
        return bool(self._followers)

    def add(self, report: Report) -> None:
        """Log a report and pass it on."""
        about = f" domain={report.domain}" if report.domain else ""
        level = _LEVELS[report.severity]
        logger.log(level, "%s: %s%s", report.kind, report.text, about)
        self.stream(report)

    def stream(self, report: Report) -> None:
        """Pass a report on without logging it: clocks change too often for a log."""
        record = EventRecord(
            time=datetime.now(UTC),
            kind=report.kind,
            domain=report.domain,
            text=report.text,
            facts=dict(report.facts),
        )
        self._recent.append(record)
        for queue in list(self._followers):
            if queue.qsize() >= BACKLOG:
                self._followers.discard(queue)
                queue.put_nowait(None)
            else:
                queue.put_nowait(record)

    async def follow(self, *, follow: bool) -> AsyncGenerator[EventRecord, None]:
        """Give the recent reports, oldest first, and with `follow` the coming ones."""
        queue: asyncio.Queue[EventRecord | None] = asyncio.Queue()
        recent = list(self._recent)
        if follow:
            self._followers.add(queue)
        try:
            for record in recent:
                yield record
            while follow and (coming := await queue.get()):
                yield coming
        finally:
            self._followers.discard(queue)

    def close(self) -> None:
        """End every stream."""
        for queue in self._followers:
            queue.put_nowait(None)
