# SPDX-License-Identifier: Apache-2.0
"""Clients cannot fill the log."""

from __future__ import annotations

from typing import TYPE_CHECKING

from orchestrator.control.peer_log import INTERVAL_S, MAX_LINES, MAX_TEXT, PeerLog

if TYPE_CHECKING:
    import pytest


class Clock:
    now_s = 0.0

    def __call__(self) -> float:
        return self.now_s


def test_a_user_causes_one_line_of_each_kind_in_an_interval(
    caplog: pytest.LogCaptureFixture,
) -> None:
    clock = Clock()
    log = PeerLog("/run/s", now_s=clock)
    for _ in range(100):
        log.report("malformed request", 7, "x" * 5_000)
        log.report("connection rejected", 7, "too many")
        log.report_defect(7, ValueError("bug"))
        log.report("malformed request", 8, "y")
    assert caplog.messages == [
        f"malformed request path=/run/s uid=7: {'x' * MAX_TEXT}",
        "connection rejected path=/run/s uid=7: too many",
        "API call failed path=/run/s uid=7",
        "malformed request path=/run/s uid=8: y",
    ]
    clock.now_s = INTERVAL_S
    log.report("malformed request", 7, "z")
    assert caplog.messages[4:] == [
        "messages about clients suppressed path=/run/s count=396",
        "malformed request path=/run/s uid=7: z",
    ]


def test_many_users_cause_a_limited_number_of_lines(
    caplog: pytest.LogCaptureFixture,
) -> None:
    log = PeerLog("/run/s", now_s=Clock())
    for uid in range(65_536):
        log.report("malformed request", uid, "x")
    assert len(caplog.messages) == MAX_LINES
