"""Many guests that are served in one pass."""

from __future__ import annotations

import contextlib
import socket

from orchestrator.channel.protocol import (
    Request,
    Unit,
    encode,
)
from orchestrator.monitor import messages
from orchestrator.monitor.answers import LATE_NS
from orchestrator.monitor.loop import LONG_PASS_NS
from tests.monitor.workbench import SIZE, TURBO, Workbench, ack, receive

UP, DOWN, MAX, MIN, ENABLE, DISABLE = Unit


def _crowd(bench: Workbench, count: int = 40) -> list[socket.socket]:
    """A group and a channel each for many vCPUs, with votes: all have their plans."""
    for group in range(count):
        bench.define_group(group)
        bench.hand_over(group)
    bench.define_domain(groups=tuple(range(count)))
    guests = [bench.adopt(number=number) for number in range(count)]
    for vcpu, guest in enumerate(guests):
        assert bench.ask(guest, encode(Request(vcpu, MIN))) == ack(vcpu, MIN)
    return guests


def _all_send(guests: list[socket.socket], unit: int) -> None:
    for vcpu, guest in enumerate(guests):
        guest.sendall(encode(Request(vcpu, unit)))


def test_many_guests_that_ask_at_once_are_all_answered_in_one_pass(
    bench: Workbench,
) -> None:
    guests = _crowd(bench)
    _all_send(guests, MAX)
    bench.turn()
    for vcpu, guest in enumerate(guests):
        assert receive(guest) == ack(vcpu, MAX)
        assert bench.clock(vcpu) == TURBO
        assert bench.counts(number=vcpu) == {"acks": 2}


def test_one_of_many_that_hangs_up_ends_only_itself(bench: Workbench) -> None:
    guests = _crowd(bench)
    _all_send(guests, MAX)
    guests[3].shutdown(socket.SHUT_RD)
    bench.turn()
    assert bench.reports == [messages.EndpointClosed(0, 3, 1, "EPIPE")]
    assert all(receive(guest) for guest in guests[4:])


def test_one_of_many_that_does_not_read_loses_only_its_own_answers(
    bench: Workbench,
) -> None:
    guests = _crowd(bench)
    deaf = bench.claims.speakers[next(iter(bench.claims.speakers))][5]
    with contextlib.suppress(BlockingIOError):
        while True:
            deaf.send(b"\0" * SIZE)
    _all_send(guests, MAX)
    bench.turn()
    assert bench.counts(number=5) == {"acks": 1, "dropped": 1}
    assert receive(guests[6]) == ack(6, MAX)


def test_many_answers_that_come_too_late_are_not_given(bench: Workbench) -> None:
    guests = _crowd(bench)
    _all_send(guests, MAX)
    bench.turn(age_ns=LATE_NS)
    assert [receive(guest) for guest in guests] == [b""] * len(guests)
    assert bench.counts(number=7) == {"acks": 1, "late": 1}


def test_a_channel_that_main_closes_before_its_answer_is_sent_is_no_news(
    bench: Workbench,
) -> None:
    guests = _crowd(bench)
    _all_send(guests, MAX)
    bench.main.send(messages.encode(messages.CloseChannel(0, 38)))
    bench.turn()
    assert receive(guests[37]) == ack(37, MAX)
    assert receive(guests[38]) == b""
    assert bench.reports == []
    assert bench.vote(38) == 0


def test_a_long_pass_makes_the_next_one_smaller(bench: Workbench) -> None:
    loop, sizes = bench.loop, []
    passes = [(64, True), (20, True), (5, True), (5, False), (8, False), (16, False)]
    for count, is_long in passes:
        loop.resize(count, LONG_PASS_NS + is_long)
        sizes.append(loop.max_events)
    assert sizes == [32, 10, 8, 8, 16, 32]
