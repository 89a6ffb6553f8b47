"""What happened, told to people: the log, and a stream that can be followed."""

from __future__ import annotations

import logging
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from orchestrator.control.models import EventRecord
from orchestrator.controller.actions import Severity

if TYPE_CHECKING:
    from orchestrator.control.feed import EventFeed
    from orchestrator.controller.actions import Report

logger = logging.getLogger("orchestrator")

_LEVELS = {
    Severity.INFO: logging.INFO,
    Severity.WARNING: logging.WARNING,
    Severity.ERROR: logging.ERROR,
}


class Reports:
    """Logs reports and passes them on.

    Synchronization: the asyncio thread only.
    """

    def __init__(self, feed: EventFeed) -> None:
        self._feed = feed

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
        self._feed.publish(record)
