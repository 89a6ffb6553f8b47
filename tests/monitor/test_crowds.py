# SPDX-License-Identifier: Apache-2.0
"""Many guests served in one pass."""

from __future__ import annotations

import contextlib
import socket

from orchestrator.channel.protocol import (
    Request,
    Unit,
    encode,
)
from orchestrator.monitor.link import commands, messages, reports
from orchestrator.monitor.process.answers import LATE_NS
from orchestrator.monitor.process.loop import LONG_PASS_NS
from tests.monitor.in_process_monitor import SIZE, TURBO, InProcessMonitor, ack, receive

UP, DOWN, MAX, MIN, ENABLE, DISABLE = Unit


def _crowd(monitor: InProcessMonitor, count: int = 40) -> list[socket.socket]:
    """Create a group and a channel for each of many vCPUs, all with votes and plans."""
    for group in range(count):
        monitor.define_group(group)
        monitor.hand_over(group)
    monitor.define_domain(groups=tuple(range(count)))
    guests = [monitor.adopt(number=number) for number in range(count)]
    for vcpu, guest in enumerate(guests):
        assert monitor.request(guest, encode(Request(vcpu, MIN))) == ack(vcpu, MIN)
    return guests


def _all_send(guests: list[socket.socket], unit: int) -> None:
    for vcpu, guest in enumerate(guests):
        guest.sendall(encode(Request(vcpu, unit)))


def test_many_simultaneous_requests_are_all_answered_in_one_pass(
    monitor: InProcessMonitor,
) -> None:
    guests = _crowd(monitor)
    _all_send(guests, MAX)
    monitor.run_pass()
    for vcpu, guest in enumerate(guests):
        assert receive(guest) == ack(vcpu, MAX)
        assert monitor.frequency(vcpu) == TURBO
        assert monitor.counts(number=vcpu) == {"acks": 2}


def test_one_of_many_guests_that_hangs_up_ends_only_its_channel(
    monitor: InProcessMonitor,
) -> None:
    guests = _crowd(monitor)
    _all_send(guests, MAX)
    guests[3].shutdown(socket.SHUT_RD)
    monitor.run_pass()
    assert monitor.reports == [reports.EndpointClosed("0", 3, 1, "EPIPE")]
    assert all(receive(guest) for guest in guests[4:])


def test_one_of_many_guests_that_does_not_read_loses_only_its_answers(
    monitor: InProcessMonitor,
) -> None:
    guests = _crowd(monitor)
    endpoint = monitor.groups.endpoints[next(iter(monitor.groups.endpoints))][5]
    with contextlib.suppress(BlockingIOError):
        while True:
            endpoint.send(b"\0" * SIZE)
    _all_send(guests, MAX)
    monitor.run_pass()
    assert monitor.counts(number=5) == {"acks": 1, "dropped": 1}
    assert receive(guests[6]) == ack(6, MAX)


def test_many_answers_that_are_too_late_are_dropped(
    monitor: InProcessMonitor,
) -> None:
    guests = _crowd(monitor)
    _all_send(guests, MAX)
    monitor.run_pass(age_ns=LATE_NS)
    assert [receive(guest) for guest in guests] == [b""] * len(guests)
    assert monitor.counts(number=7) == {"acks": 1, "late": 1}


def test_a_channel_that_main_closes_before_its_answer_is_not_reported(
    monitor: InProcessMonitor,
) -> None:
    guests = _crowd(monitor)
    _all_send(guests, MAX)
    monitor.main.send(messages.encode(commands.CloseChannel("0", 38)))
    monitor.run_pass()
    assert receive(guests[37]) == ack(37, MAX)
    assert receive(guests[38]) == b""
    assert monitor.reports == []
    assert monitor.vote(38) == 0


def test_a_long_pass_makes_the_next_one_smaller(monitor: InProcessMonitor) -> None:
    loop, sizes = monitor.loop, []
    passes = [(64, True), (20, True), (5, True), (5, False), (8, False), (16, False)]
    for count, is_long in passes:
        loop.resize(count, LONG_PASS_NS + is_long)
        sizes.append(loop.max_events)
    assert sizes == [32, 10, 8, 8, 16, 32]
