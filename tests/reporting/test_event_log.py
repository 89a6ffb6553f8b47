# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING

from orchestrator.control.feed import EventFeed
from orchestrator.controller.actions import Report, Severity
from orchestrator.reporting.event_log import EventLog

if TYPE_CHECKING:
    import pytest

    from orchestrator.control.models import EventRecord


async def collect(feed: EventFeed) -> list[EventRecord]:
    return [record async for record in feed.read()]


def test_a_report_is_logged_at_its_severity_and_published(
    caplog: pytest.LogCaptureFixture,
) -> None:
    feed = EventFeed()
    with caplog.at_level(logging.INFO, logger="orchestrator"):
        report = Report("cpus", "left alone", "dpdk-0", Severity.WARNING, {"group": 3})
        EventLog(feed).add(report)
    (record,) = caplog.records
    assert record.levelname == "WARNING"
    assert record.getMessage() == "cpus: left alone domain=dpdk-0"
    (event,) = asyncio.run(collect(feed))
    assert (event.kind, event.domain, event.text) == ("cpus", "dpdk-0", "left alone")
    assert event.facts == {"group": 3}


def test_a_published_report_is_not_logged(caplog: pytest.LogCaptureFixture) -> None:
    feed = EventFeed()
    with caplog.at_level(logging.DEBUG):
        EventLog(feed).publish(Report("grant", "CPUs 2 at 2.00 GHz"))
    assert caplog.records == []
    assert len(asyncio.run(collect(feed))) == 1
