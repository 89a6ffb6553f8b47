# SPDX-License-Identifier: Apache-2.0
"""What the loop survives, and what ends it."""

from __future__ import annotations

import pytest

from orchestrator.channel.protocol import Request, Unit, encode, encode_connect
from orchestrator.monitor.link import commands, messages, reports
from tests.monitor.in_process_monitor import (
    InProcessMonitor,
    receive,
)

UP, DOWN, MAX, MIN, ENABLE, DISABLE = Unit


def test_an_internal_error_costs_only_one_guest_its_channel(
    monitor: InProcessMonitor, capsys: pytest.CaptureFixture[str]
) -> None:
    monitor.simple()
    bad, good = monitor.adopt(number=1), monitor.adopt(number=2)
    endpoint = monitor.groups.endpoints[next(iter(monitor.groups.endpoints))][1]
    endpoint.receive = None  # type: ignore[assignment]
    bad.sendall(encode(Request(0, MIN)))
    good.sendall(encode(Request(0, DOWN)))
    monitor.run_pass()
    assert receive(good) == encode(Request(0, DOWN))
    assert "TypeError" in capsys.readouterr().err
    closed = reports.EndpointClosed("0", 1, 1, "internal error")
    assert monitor.reports == [closed]


def test_main_s_garbage_is_logged_and_survived(
    monitor: InProcessMonitor, capsys: pytest.CaptureFixture[str]
) -> None:
    guest = monitor.simple()
    monitor.main.send(b"garbage")
    monitor.main.send(messages.encode(commands.CloseGroup(0)))
    monitor.run_pass()
    assert "garbage" in capsys.readouterr().err
    assert not monitor.groups.clocks[0].is_handed_over
    assert monitor.request(guest, encode_connect()) == b""


def test_main_s_end_is_noticed(monitor: InProcessMonitor) -> None:
    monitor.main.close()
    with pytest.raises(EOFError):
        monitor.run_pass()
