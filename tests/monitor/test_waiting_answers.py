# SPDX-License-Identifier: Apache-2.0
"""Answers that wait until their clock group is taken."""

from __future__ import annotations

from typing import TYPE_CHECKING

from orchestrator.channel.protocol import (
    Request,
    Unit,
    encode,
    encode_connect,
)
from orchestrator.monitor.link import commands, reports
from orchestrator.monitor.process.answers import LATE_NS, MAX_WAITING
from tests.monitor.in_process_monitor import (
    LOWEST,
    NOMINAL,
    TURBO,
    InProcessMonitor,
    ack,
    nack,
    receive,
)

if TYPE_CHECKING:
    import socket

UP, DOWN, MAX, MIN, ENABLE, DISABLE = Unit


def _untaken(monitor: InProcessMonitor) -> socket.socket:
    monitor.define_group()
    monitor.hand_over(is_taken=False)
    monitor.define_domain()
    return monitor.adopt()


TAKEN, NOT_TAKEN = commands.AnswerTake(0, True), commands.AnswerTake(0, False)  # noqa: FBT003


def test_the_first_request_takes_its_group_and_waits(
    monitor: InProcessMonitor,
) -> None:
    guest = _untaken(monitor)
    assert monitor.request(guest, encode(Request(0, MIN))) == b""
    assert monitor.reports == [reports.TakeWanted(0)]
    assert monitor.counts() == {"waiting": 1}
    monitor.apply(TAKEN)
    assert receive(guest) == ack(0, MIN)
    assert monitor.frequency() == LOWEST
    assert monitor.counts() == {"acks": 1}


def test_connect_takes_the_group(monitor: InProcessMonitor) -> None:
    guest = _untaken(monitor)
    monitor.request(guest, encode_connect())
    assert monitor.reports == [reports.TakeWanted(0)]
    monitor.apply(TAKEN)
    assert receive(guest) == b""
    assert monitor.frequency() == TURBO


def test_the_last_request_counts_while_the_group_is_taken(
    monitor: InProcessMonitor,
) -> None:
    guest = _untaken(monitor)
    packets = [encode(Request(0, unit)) for unit in (MIN, UP, 9, UP)]
    for packet in packets:
        assert monitor.request(guest, packet) == b""
    assert monitor.reports[0] == reports.TakeWanted(0)
    assert monitor.reported_refusals() == [(0, "unit", 0, 9)]
    monitor.apply(TAKEN)
    assert receive(guest) == packets[0] + packets[1] + nack(0, 9) + packets[3]
    assert monitor.frequency() == NOMINAL


def test_a_group_that_could_not_be_taken_refuses_what_waited(
    monitor: InProcessMonitor,
) -> None:
    guest = _untaken(monitor)
    monitor.request(guest, encode(Request(0, MIN)))
    monitor.apply(NOT_TAKEN)
    assert receive(guest) == nack(0, MIN)
    # and main is not asked again at once
    assert monitor.request(guest, encode(Request(0, MIN))) == nack(0, MIN)
    assert monitor.reports.count(reports.TakeWanted(0)) == 1
    assert monitor.reported_refusals() == [(0, "claim", 0, MIN)]


def test_answers_that_waited_too_long_are_dropped(monitor: InProcessMonitor) -> None:
    guest = _untaken(monitor)
    guest.sendall(encode(Request(0, MIN)))
    monitor.run_pass(age_ns=LATE_NS)
    monitor.apply(TAKEN)
    assert receive(guest) == b""
    assert monitor.frequency() == LOWEST
    assert monitor.counts() == {"late": 1}


def test_a_request_may_arrive_before_the_descriptors(monitor: InProcessMonitor) -> None:
    monitor.define_group()
    monitor.define_domain()
    guest = monitor.adopt()
    assert monitor.request(guest, encode(Request(0, MIN))) == b""
    monitor.hand_over(is_taken=False)
    assert receive(guest) == b""
    monitor.apply(TAKEN)
    assert receive(guest) == ack(0, MIN)


def test_an_answer_does_not_overtake_a_waiting_one(monitor: InProcessMonitor) -> None:
    for group in (0, 1):
        monitor.define_group(group)
        monitor.hand_over(group, is_taken=group == 1)
    monitor.define_domain(groups=(0, 1))
    guest = monitor.adopt()
    assert monitor.request(guest, encode(Request(0, MIN))) == b""
    assert monitor.request(guest, encode(Request(1, MIN))) == b""
    assert monitor.frequency(1) == LOWEST
    monitor.apply(TAKEN)
    assert receive(guest) == ack(0, MIN) + ack(1, MIN)


def test_the_number_of_waiting_answers_is_limited(monitor: InProcessMonitor) -> None:
    guest = _untaken(monitor)
    monitor.request(guest, encode(Request(0, MIN)) * (MAX_WAITING + 5))
    assert monitor.counts() == {"waiting": MAX_WAITING, "dropped": 5}
    monitor.apply(TAKEN)
    assert receive(guest) == ack(0, MIN) * MAX_WAITING


def test_a_guest_that_hangs_up_while_its_answer_waits_is_forgotten(
    monitor: InProcessMonitor,
) -> None:
    guest = _untaken(monitor)
    monitor.request(guest, encode(Request(0, MIN)))
    guest.close()
    monitor.run_pass()
    monitor.apply(TAKEN)
    assert monitor.reports[1:] == [reports.EndpointClosed("0", 0, 1, "hung up")]
    assert monitor.frequency() == TURBO


def test_closing_a_group_refuses_the_requests_that_wait_for_it(
    monitor: InProcessMonitor,
) -> None:
    guest = _untaken(monitor)
    monitor.request(guest, encode(Request(0, MIN)))
    monitor.apply(commands.CloseGroup(0))
    assert receive(guest) == nack(0, MIN)
