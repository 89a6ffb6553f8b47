"""Answers that wait until their clock group is taken."""

from __future__ import annotations

from typing import TYPE_CHECKING

from orchestrator.channel.protocol import (
    Request,
    Unit,
    encode,
    encode_connect,
)
from orchestrator.monitor import messages
from orchestrator.monitor.answers import LATE_NS, MAX_WAITING
from tests.monitor.workbench import (
    LOWEST,
    NOMINAL,
    TURBO,
    Workbench,
    ack,
    nack,
    receive,
)

if TYPE_CHECKING:
    import socket

UP, DOWN, MAX, MIN, ENABLE, DISABLE = Unit


def _untaken(bench: Workbench) -> socket.socket:
    bench.define_group()
    bench.hand_over(is_taken=False)
    bench.define_domain()
    return bench.adopt()


TAKEN, NOT_TAKEN = messages.AnswerTake(0, True), messages.AnswerTake(0, False)  # noqa: FBT003


def test_the_first_request_has_its_group_taken_and_waits(bench: Workbench) -> None:
    guest = _untaken(bench)
    assert bench.ask(guest, encode(Request(0, MIN))) == b""
    assert bench.reports == [messages.TakeWanted(0)]
    assert bench.counts() == {"waiting": 1}
    bench.tell(TAKEN)
    assert receive(guest) == ack(0, MIN)
    assert bench.clock() == LOWEST
    assert bench.counts() == {"acks": 1}


def test_connect_has_the_group_taken(bench: Workbench) -> None:
    guest = _untaken(bench)
    bench.ask(guest, encode_connect())
    assert bench.reports == [messages.TakeWanted(0)]
    bench.tell(TAKEN)
    assert receive(guest) == b""
    assert bench.clock() == TURBO


def test_requests_fold_while_their_group_is_taken(bench: Workbench) -> None:
    guest = _untaken(bench)
    packets = [encode(Request(0, unit)) for unit in (MIN, UP, 9, UP)]
    for packet in packets:
        assert bench.ask(guest, packet) == b""
    assert bench.reports[0] == messages.TakeWanted(0)
    assert bench.told_refusals() == [(0, "unit", 0, 9)]
    bench.tell(TAKEN)
    assert receive(guest) == packets[0] + packets[1] + nack(0, 9) + packets[3]
    assert bench.clock() == NOMINAL


def test_a_group_that_could_not_be_taken_refuses_what_waited(bench: Workbench) -> None:
    guest = _untaken(bench)
    bench.ask(guest, encode(Request(0, MIN)))
    bench.tell(NOT_TAKEN)
    assert receive(guest) == nack(0, MIN)
    # and is not asked for again at once
    assert bench.ask(guest, encode(Request(0, MIN))) == nack(0, MIN)
    assert bench.reports.count(messages.TakeWanted(0)) == 1
    assert bench.told_refusals() == [(0, "claim", 0, MIN)]


def test_answers_that_waited_too_long_are_not_given(bench: Workbench) -> None:
    guest = _untaken(bench)
    guest.sendall(encode(Request(0, MIN)))
    bench.turn(age_ns=LATE_NS)
    bench.tell(TAKEN)
    assert receive(guest) == b""
    assert bench.clock() == LOWEST
    assert bench.counts() == {"late": 1}


def test_a_request_may_come_before_the_descriptors(bench: Workbench) -> None:
    bench.define_group()
    bench.define_domain()
    guest = bench.adopt()
    assert bench.ask(guest, encode(Request(0, MIN))) == b""
    bench.hand_over(is_taken=False)
    assert receive(guest) == b""
    bench.tell(TAKEN)
    assert receive(guest) == ack(0, MIN)


def test_an_answer_does_not_overtake_one_that_waits(bench: Workbench) -> None:
    for group in (0, 1):
        bench.define_group(group)
        bench.hand_over(group, is_taken=group == 1)
    bench.define_domain(groups=(0, 1))
    guest = bench.adopt()
    assert bench.ask(guest, encode(Request(0, MIN))) == b""
    assert bench.ask(guest, encode(Request(1, MIN))) == b""
    assert bench.clock(1) == LOWEST
    bench.tell(TAKEN)
    assert receive(guest) == ack(0, MIN) + ack(1, MIN)


def test_the_answers_that_wait_are_bounded(bench: Workbench) -> None:
    guest = _untaken(bench)
    bench.ask(guest, encode(Request(0, MIN)) * (MAX_WAITING + 5))
    assert bench.counts() == {"waiting": MAX_WAITING, "dropped": 5}
    bench.tell(TAKEN)
    assert receive(guest) == ack(0, MIN) * MAX_WAITING


def test_a_guest_that_leaves_while_its_answer_waits_is_forgotten(
    bench: Workbench,
) -> None:
    guest = _untaken(bench)
    bench.ask(guest, encode(Request(0, MIN)))
    guest.close()
    bench.turn()
    bench.tell(TAKEN)
    assert bench.reports[1:] == [messages.EndpointClosed(0, 0, 1, "hung up")]
    assert bench.clock() == TURBO


def test_taking_back_a_group_refuses_what_waits_for_it(bench: Workbench) -> None:
    guest = _untaken(bench)
    bench.ask(guest, encode(Request(0, MIN)))
    bench.tell(messages.TakeBack(0))
    assert receive(guest) == nack(0, MIN)
