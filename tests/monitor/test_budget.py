# SPDX-License-Identifier: Apache-2.0
"""How many requests a channel may send, and what happens to one that sends more."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from orchestrator.channel.protocol import Command, Request, Unit, encode, encode_connect
from orchestrator.monitor.link.reports import ChannelAbused
from orchestrator.monitor.process.budget import (
    MAX_DEBT,
    MAX_GARBAGE,
    MAX_STRIKES,
    UNLIMITED,
    WINDOW_NS,
    Budget,
)
from tests.monitor.in_process_monitor import SIZE, InProcessMonitor, receive

if TYPE_CHECKING:
    import socket
    from collections.abc import Iterator
    from pathlib import Path

PER_WINDOW = 20
PER_S = PER_WINDOW * 10
SECOND_NS = 1_000_000_000


# The budget itself


class Spender:
    """A guest that sends requests one by one."""

    def __init__(self, per_s: int) -> None:
        self.budget = Budget(per_s)
        self.credit = self.budget.per_window

    def spend(self, count: int, now_ns: int) -> int:
        """Send requests; return until when the guest is not read."""
        until_ns = 0
        for _ in range(count):
            self.credit -= 1
            if self.credit < 0:
                until_ns = max(until_ns, self.budget.renew(self.credit, now_ns))
                self.credit = self.budget.per_window - 1
        return until_ns

    def exceed(self, windows: int, now_ns: int = SECOND_NS) -> int:
        """Send as much as is read, for some windows; return the time afterwards."""
        for _ in range(windows):
            now_ns = self.spend(PER_WINDOW, now_ns) or now_ns
        return now_ns


def test_a_guest_within_its_budget_is_always_read() -> None:
    guest = Spender(PER_S)
    for window in range(1, 1_000):
        assert guest.spend(PER_WINDOW, window * WINDOW_NS) == 0
        assert not guest.budget.take_strikes()


def test_a_guest_that_uses_its_budget_up_is_read_again_in_the_next_window() -> None:
    guest = Spender(PER_S)
    assert guest.spend(PER_WINDOW + 1, SECOND_NS) == 0
    assert guest.spend(PER_WINDOW, SECOND_NS) == SECOND_NS + WINDOW_NS


def test_a_large_burst_is_paid_for_with_a_longer_pause() -> None:
    guest = Spender(1)
    guest.spend(2, SECOND_NS)
    assert guest.credit == 0
    assert guest.budget.renew(-32, SECOND_NS) == SECOND_NS + MAX_DEBT * WINDOW_NS


def test_no_budget_is_never_used_up() -> None:
    guest = Spender(UNLIMITED)
    assert guest.spend(100_000, SECOND_NS) == 0
    assert all(guest.budget.spend_garbage(SECOND_NS) for _ in range(2 * MAX_GARBAGE))


def test_a_guest_that_exceeds_its_budget_for_long_is_noticed() -> None:
    guest = Spender(PER_S)
    guest.spend(PER_WINDOW + 1, SECOND_NS)  # its first window begins
    now_ns = guest.exceed(MAX_STRIKES - 1)
    assert not guest.budget.take_strikes()
    guest.exceed(1, now_ns)
    assert guest.budget.take_strikes()
    assert not guest.budget.take_strikes()


def test_pauses_of_the_guest_s_own_excuse_it() -> None:
    guest = Spender(PER_S)
    now_ns = SECOND_NS
    for _ in range(10 * MAX_STRIKES):
        now_ns = guest.exceed(MAX_STRIKES // 2, now_ns) + MAX_STRIKES * WINDOW_NS
        assert not guest.budget.take_strikes()


def test_little_garbage_is_excused() -> None:
    budget = Budget(PER_S)
    for second in range(1_000):
        assert all(budget.spend_garbage(second * SECOND_NS) for _ in range(9))


# In the monitor


@pytest.fixture
def monitor(tmp_path: Path) -> Iterator[InProcessMonitor]:
    with InProcessMonitor(tmp_path) as monitor:
        monitor.registry.budget = PER_S
        yield monitor


REQUEST = encode(Request(0, Unit.SCALE_MIN))
PACKETS = {
    "requests": REQUEST,
    "refused requests": encode(Request(0, 77)),
    "CONNECTs": encode_connect(),
    "queries": encode(Request(0, 0, Command.QUERY_ENERGY)),
    "garbage": b"\xff" * SIZE,
    "bursts": REQUEST * 4,
}


def flood(monitor: InProcessMonitor, guest: socket.socket, packet: bytes) -> None:
    """Send more than the budget of a window, as far as it is read."""
    for _ in range(2 * PER_WINDOW):
        guest.send(packet)
        monitor.run_pass()
        receive(guest)
        if monitor.exchange.paused:
            return


@pytest.mark.parametrize("kind", PACKETS)
def test_everything_that_a_guest_sends_is_charged(
    monitor: InProcessMonitor, kind: str
) -> None:
    guest = monitor.simple()
    flood(monitor, guest, PACKETS[kind])  # its first window begins
    flood(monitor, guest, PACKETS[kind])
    assert monitor.counts()["throttled"] == 1


def test_a_guest_without_budget_is_not_read_and_answered_afterwards(
    monitor: InProcessMonitor,
) -> None:
    guest = monitor.simple()
    flood(monitor, guest, REQUEST)
    flood(monitor, guest, REQUEST)
    assert monitor.request(guest, REQUEST) == b""
    monitor.now_ns += WINDOW_NS
    monitor.run_pass()  # the pause is over
    monitor.run_pass()
    assert receive(guest) == REQUEST
    before = monitor.counts()
    assert before["acks"] > 2 * PER_WINDOW
    assert monitor.request(guest, REQUEST) == REQUEST


def test_another_guest_is_not_affected(monitor: InProcessMonitor) -> None:
    guest = monitor.simple()
    other = monitor.adopt(number=1)
    flood(monitor, guest, REQUEST)
    flood(monitor, guest, REQUEST)
    assert monitor.request(other, REQUEST) == REQUEST
    assert "throttled" not in monitor.counts(number=1)


def test_a_guest_that_keeps_exceeding_its_budget_is_reported(
    monitor: InProcessMonitor,
) -> None:
    guest = monitor.simple()
    monitor.reports.clear()
    flood(monitor, guest, REQUEST)
    for _ in range(MAX_STRIKES):
        assert monitor.reports == []
        flood(monitor, guest, REQUEST)
        monitor.now_ns += WINDOW_NS
        monitor.run_pass()
    assert monitor.reports == [ChannelAbused("0", 0, 1, is_garbage=False)]


def test_a_guest_that_sends_much_garbage_is_reported(monitor: InProcessMonitor) -> None:
    monitor.registry.budget = 1_000_000
    guest = monitor.simple()
    monitor.reports.clear()
    for _ in range(MAX_GARBAGE + 1):
        assert monitor.reports == []
        guest.send(b"\xff" * SIZE * 3)
        monitor.run_pass()
    assert monitor.reports == [ChannelAbused("0", 0, 1, is_garbage=True)]
    assert monitor.exchange.paused
