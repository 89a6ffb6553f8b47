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


def test_the_first_request_has_its_group_taken_and_waits(
    monitor: InProcessMonitor,
) -> None:
    guest = _untaken(monitor)
    assert monitor.ask(guest, encode(Request(0, MIN))) == b""
    assert monitor.reports == [reports.TakeWanted(0)]
    assert monitor.counts() == {"waiting": 1}
    monitor.tell(TAKEN)
    assert receive(guest) == ack(0, MIN)
    assert monitor.clock() == LOWEST
    assert monitor.counts() == {"acks": 1}


def test_connect_has_the_group_taken(monitor: InProcessMonitor) -> None:
    guest = _untaken(monitor)
    monitor.ask(guest, encode_connect())
    assert monitor.reports == [reports.TakeWanted(0)]
    monitor.tell(TAKEN)
    assert receive(guest) == b""
    assert monitor.clock() == TURBO


def test_requests_fold_while_their_group_is_taken(monitor: InProcessMonitor) -> None:
    guest = _untaken(monitor)
    packets = [encode(Request(0, unit)) for unit in (MIN, UP, 9, UP)]
    for packet in packets:
        assert monitor.ask(guest, packet) == b""
    assert monitor.reports[0] == reports.TakeWanted(0)
    assert monitor.told_refusals() == [(0, "unit", 0, 9)]
    monitor.tell(TAKEN)
    assert receive(guest) == packets[0] + packets[1] + nack(0, 9) + packets[3]
    assert monitor.clock() == NOMINAL


def test_a_group_that_could_not_be_taken_refuses_what_waited(
    monitor: InProcessMonitor,
) -> None:
    guest = _untaken(monitor)
    monitor.ask(guest, encode(Request(0, MIN)))
    monitor.tell(NOT_TAKEN)
    assert receive(guest) == nack(0, MIN)
    # and is not asked for again at once
    assert monitor.ask(guest, encode(Request(0, MIN))) == nack(0, MIN)
    assert monitor.reports.count(reports.TakeWanted(0)) == 1
    assert monitor.told_refusals() == [(0, "claim", 0, MIN)]


def test_answers_that_waited_too_long_are_not_given(monitor: InProcessMonitor) -> None:
    guest = _untaken(monitor)
    guest.sendall(encode(Request(0, MIN)))
    monitor.turn(age_ns=LATE_NS)
    monitor.tell(TAKEN)
    assert receive(guest) == b""
    assert monitor.clock() == LOWEST
    assert monitor.counts() == {"late": 1}


def test_a_request_may_come_before_the_descriptors(monitor: InProcessMonitor) -> None:
    monitor.define_group()
    monitor.define_domain()
    guest = monitor.adopt()
    assert monitor.ask(guest, encode(Request(0, MIN))) == b""
    monitor.hand_over(is_taken=False)
    assert receive(guest) == b""
    monitor.tell(TAKEN)
    assert receive(guest) == ack(0, MIN)


def test_an_answer_does_not_overtake_one_that_waits(monitor: InProcessMonitor) -> None:
    for group in (0, 1):
        monitor.define_group(group)
        monitor.hand_over(group, is_taken=group == 1)
    monitor.define_domain(groups=(0, 1))
    guest = monitor.adopt()
    assert monitor.ask(guest, encode(Request(0, MIN))) == b""
    assert monitor.ask(guest, encode(Request(1, MIN))) == b""
    assert monitor.clock(1) == LOWEST
    monitor.tell(TAKEN)
    assert receive(guest) == ack(0, MIN) + ack(1, MIN)


def test_the_answers_that_wait_are_bounded(monitor: InProcessMonitor) -> None:
    guest = _untaken(monitor)
    monitor.ask(guest, encode(Request(0, MIN)) * (MAX_WAITING + 5))
    assert monitor.counts() == {"waiting": MAX_WAITING, "dropped": 5}
    monitor.tell(TAKEN)
    assert receive(guest) == ack(0, MIN) * MAX_WAITING


def test_a_guest_that_leaves_while_its_answer_waits_is_forgotten(
    monitor: InProcessMonitor,
) -> None:
    guest = _untaken(monitor)
    monitor.ask(guest, encode(Request(0, MIN)))
    guest.close()
    monitor.turn()
    monitor.tell(TAKEN)
    assert monitor.reports[1:] == [reports.EndpointClosed("0", 0, 1, "hung up")]
    assert monitor.clock() == TURBO


def test_taking_back_a_group_refuses_what_waits_for_it(
    monitor: InProcessMonitor,
) -> None:
    guest = _untaken(monitor)
    monitor.ask(guest, encode(Request(0, MIN)))
    monitor.tell(commands.TakeBack(0))
    assert receive(guest) == nack(0, MIN)
