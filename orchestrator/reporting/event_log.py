# SPDX-License-Identifier: Apache-2.0
"""Writes reports to the log and to the stream of events."""

from __future__ import annotations

import logging
from collections import Counter
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from orchestrator.controller.actions import Severity
from orchestrator.system.journal import FIELDS

if TYPE_CHECKING:
    from collections.abc import Callable

    from orchestrator.control.feed import EventFeed
    from orchestrator.control.models import EventRecord
    from orchestrator.controller.actions import Report

logger = logging.getLogger("orchestrator")

_LEVELS = {
    Severity.INFO: logging.INFO,
    Severity.WARNING: logging.WARNING,
    Severity.ERROR: logging.ERROR,
}


class EventLog:
    """Logs reports, publishes them as events and keeps them for the next run.

    Synchronization: the asyncio thread only.
    """

    def __init__(
        self,
        feed: EventFeed,
        keep: Callable[[EventRecord], None] = lambda _event: None,
        uuid_of: Callable[[str], str] = lambda _name: "",
    ) -> None:
        """Log nothing yet.

        Args:
            feed: receives all events.
            keep: receives those that outlive a restart of the daemon.
            uuid_of: returns the UUID of the domain of a name; empty: unknown.
        """
        self._feed = feed
        self.counts: Counter[str] = Counter()
        """How many were logged, by kind."""
        self._keep = keep
        self._uuid_of = uuid_of

    def add(self, report: Report) -> None:
        """Log a report and publish it."""
        about = f" domain={report.domain}" if report.domain else ""
        level = _LEVELS[report.severity]
        self.counts[report.kind] += 1
        fields = {FIELDS: self._journal_fields(report)}
        logger.log(level, "%s: %s%s", report.kind, report.text, about, extra=fields)
        self._keep(self.publish(report))

    def _journal_fields(self, report: Report) -> dict[str, object]:
        fields: dict[str, object] = {"VMPOWER_EVENT": report.kind}
        if report.domain:
            fields["DOMAIN"] = report.domain
            if uuid := self._uuid_of(report.domain):
                fields["UUID"] = uuid
        if "number" in report.facts:
            fields["CHANNEL"] = report.facts["number"]
        return fields

    def publish(self, report: Report) -> EventRecord:
        """Publish a report without logging it: frequencies change too often."""
        return self._feed.publish(
            datetime.now(UTC),
            report.kind,
            report.text,
            domain=report.domain,
            facts=report.facts,
        )
