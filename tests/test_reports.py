from __future__ import annotations

import asyncio
import logging
from contextlib import aclosing
from typing import TYPE_CHECKING

from orchestrator.actions import Report, Severity
from orchestrator.reports import BACKLOG, REMEMBERED, Reports

if TYPE_CHECKING:
    import pytest

    from orchestrator.control.models import EventRecord


def numbered(number: int) -> Report:
    return Report("test", f"report {number}", facts={"number": number})


async def collect(reports: Reports, *, follow: bool) -> list[EventRecord]:
    async with aclosing(reports.follow(follow=follow)) as stream:
        return [record async for record in stream]


def test_a_newcomer_sees_the_recent_past_and_no_more() -> None:
    reports = Reports()
    for number in range(REMEMBERED + 10):
        reports.add(numbered(number))
    seen = asyncio.run(collect(reports, follow=False))
    assert [seen[0].text, seen[-1].text] == ["report 10", f"report {REMEMBERED + 9}"]


def test_a_follower_sees_what_comes_until_the_end() -> None:
    async def scenario() -> list[str]:
        reports = Reports()
        reports.add(numbered(1))
        following = asyncio.create_task(collect(reports, follow=True))
        while not reports.is_followed:
            await asyncio.sleep(0)
        reports.add(numbered(2))
        reports.close()
        return [record.text for record in await following]

    assert asyncio.run(scenario()) == ["report 1", "report 2"]


def test_a_follower_that_never_reads_holds_no_memory() -> None:
    async def scenario() -> bool:
        reports = Reports()
        stream = reports.follow(follow=True)
        reports.add(numbered(0))
        await anext(stream)
        for number in range(BACKLOG + 1):
            reports.add(numbered(number))
        is_followed = reports.is_followed
        await stream.aclose()
        return is_followed

    assert asyncio.run(scenario()) is False


def test_a_report_is_logged_at_its_severity(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, logger="orchestrator"):
        Reports().add(Report("cpus", "left alone", "dpdk-0", Severity.WARNING))
    (record,) = caplog.records
    assert record.levelname == "WARNING"
    assert record.getMessage() == "cpus: left alone domain=dpdk-0"


def test_a_streamed_report_is_not_logged(caplog: pytest.LogCaptureFixture) -> None:
    reports = Reports()
    with caplog.at_level(logging.DEBUG):
        reports.stream(numbered(1))
    assert caplog.records == []
    assert len(asyncio.run(collect(reports, follow=False))) == 1
