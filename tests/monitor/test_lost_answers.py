"""Answers that are not given: too late, or nobody reads them."""

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
from tests.monitor.workbench import LOWEST, SIZE, Workbench, ack, receive

UP, DOWN, MAX, MIN, ENABLE, DISABLE = Unit


def test_an_answer_that_comes_too_late_is_not_given(bench: Workbench) -> None:
    guest = bench.simple()
    guest.sendall(encode(Request(0, MIN)) * 2 + encode(Request(9, MIN)))
    bench.turn(age_ns=LATE_NS)
    assert receive(guest) == b""
    assert bench.clock() == LOWEST
    assert bench.counts() == {"late": 3}


def test_a_guest_that_never_reads_costs_nothing_but_its_own_answers(
    bench: Workbench,
) -> None:
    guest = bench.simple()
    packet = encode(Request(0, MIN))
    for _ in range(100):
        guest.sendall(packet * 100)
        bench.exhaust()
    counts = bench.counts()
    assert counts["acks"] + counts["dropped"] == 10_000
    assert counts["dropped"] > 5_000
    # What did arrive are whole packets; room in the socket brings new ones.
    received = receive(guest)
    bench.turn()
    received += receive(guest)
    assert received == packet * counts["acks"]
    assert bench.ask(guest, packet) == packet


def test_an_answer_that_was_cut_is_finished_before_any_other(bench: Workbench) -> None:
    guest = bench.simple()
    endpoint = next(iter(bench.watch.endpoints.values()))
    with contextlib.suppress(BlockingIOError):
        while True:
            endpoint.send(b"\0" * SIZE)
    endpoint.unsent = b"\7" * 10  # as if the socket had taken all but ten bytes
    bench.watch.look(endpoint)
    guest.sendall(encode(Request(0, MIN)))
    bench.turn()
    assert bench.counts() == {"dropped": 1}
    assert len(receive(guest)) > 100 * SIZE
    bench.turn()
    assert receive(guest) == b"\7" * 10
    assert bench.ask(guest, encode(Request(0, MIN))) == ack(0, MIN)


def test_a_guest_that_hangs_up_with_answers_under_way_ends_only_itself(
    bench: Workbench,
) -> None:
    bench.define_group()
    bench.hand_over()
    bench.define_domain(groups=(0, 0))
    first, second = bench.adopt(number=0), bench.adopt(number=1)
    first.sendall(encode(Request(0, MIN)))
    second.sendall(encode(Request(1, MIN)))
    first.shutdown(socket.SHUT_RD)
    bench.turn()
    assert receive(second) == ack(1, MIN)
    assert bench.reports == [messages.EndpointClosed(0, 0, 1, "EPIPE")]
