# SPDX-License-Identifier: Apache-2.0
"""How many reports of the monitor main accepts."""

from __future__ import annotations

import asyncio

from orchestrator import events
from orchestrator.monitor.client.report_limit import ReportLimit
from orchestrator.monitor.link import reports
from orchestrator.values.refusal import Refusal
from tests.monitor.monitor_harness import UUID, MonitorHarness, with_monitor

BURST = 5


def admitted(limit: ReportLimit, source: str, count: int, now_s: float) -> int:
    return sum(limit.admit(source, now_s) for _ in range(count))


def test_a_source_has_a_burst_and_then_a_rate() -> None:
    limit = ReportLimit(burst=BURST, per_s=2)
    assert admitted(limit, "one", 100, 0.0) == BURST
    assert admitted(limit, "another", 100, 0.0) == BURST
    assert admitted(limit, "one", 100, 10.0) == BURST
    assert [admitted(limit, "one", 100, 10.0 + second) for second in (1, 2, 3)] == [
        2,
        2,
        2,
    ]


@with_monitor
async def test_a_flood_of_reports_is_cut_and_the_end_of_a_channel_is_not(
    main: MonitorHarness,
) -> None:
    main.simple()
    await asyncio.sleep(0)
    adoption = main.monitor._adoptions[UUID, 0]
    receive = main.monitor._on_report
    for number in range(10_000):
        receive(reports.WriteRefused(0, number))
        receive(reports.RequestRefused(UUID, 0, adoption, Refusal.NO_VCPU, number, 1))
    receive(reports.EndpointClosed(UUID, 0, adoption, "hung up"))
    kinds = [type(event) for event in main.posted]
    assert 0 < kinds.count(events.WriteRefused) < 100
    assert 0 < kinds.count(events.RequestRefused) < 1_000
    assert kinds[-1] is events.EndpointClosed
