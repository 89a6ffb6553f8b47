# SPDX-License-Identifier: Apache-2.0
"""Answers that are dropped because they are late or the guest does not read them."""

from __future__ import annotations

import contextlib
import socket

from orchestrator.channel.protocol import (
    Request,
    Unit,
    encode,
)
from orchestrator.monitor.link import reports
from orchestrator.monitor.process.answers import LATE_NS
from tests.monitor.in_process_monitor import (
    LOWEST,
    SIZE,
    InProcessMonitor,
    ack,
    receive,
)

UP, DOWN, MAX, MIN, ENABLE, DISABLE = Unit


def test_an_answer_that_is_too_late_is_dropped(monitor: InProcessMonitor) -> None:
    guest = monitor.simple()
    guest.sendall(encode(Request(0, MIN)) * 2 + encode(Request(9, MIN)))
    monitor.run_pass(age_ns=LATE_NS)
    assert receive(guest) == b""
    assert monitor.frequency() == LOWEST
    assert monitor.counts() == {"late": 3}


def test_a_guest_that_never_reads_costs_nothing_but_its_own_answers(
    monitor: InProcessMonitor,
) -> None:
    guest = monitor.simple()
    packet = encode(Request(0, MIN))
    for _ in range(100):
        guest.sendall(packet * 100)
        monitor.run_until_idle()
    counts = monitor.counts()
    assert counts["acks"] + counts["dropped"] == 10_000
    assert counts["dropped"] > 5_000
    # Only whole packets arrived; with room in the socket there are new answers.
    received = receive(guest)
    monitor.run_pass()
    received += receive(guest)
    assert received == packet * counts["acks"]
    assert monitor.request(guest, packet) == packet


def test_a_partial_answer_is_completed_before_any_other(
    monitor: InProcessMonitor,
) -> None:
    guest = monitor.simple()
    endpoint = next(iter(monitor.epoll_set.endpoints.values()))
    with contextlib.suppress(BlockingIOError):
        while True:
            endpoint.send(b"\0" * SIZE)
    endpoint.unsent = b"\7" * 10  # as if the socket had accepted all but ten bytes
    monitor.epoll_set.rearm(endpoint)
    guest.sendall(encode(Request(0, MIN)))
    monitor.run_pass()
    assert monitor.counts() == {"dropped": 1}
    assert len(receive(guest)) > 100 * SIZE
    monitor.run_pass()
    assert receive(guest) == b"\7" * 10
    assert monitor.request(guest, encode(Request(0, MIN))) == ack(0, MIN)


def test_a_guest_that_hangs_up_with_answers_in_progress_ends_only_its_channel(
    monitor: InProcessMonitor,
) -> None:
    monitor.define_group()
    monitor.hand_over()
    monitor.define_domain(groups=(0, 0))
    first, second = monitor.adopt(number=0), monitor.adopt(number=1)
    first.sendall(encode(Request(0, MIN)))
    second.sendall(encode(Request(1, MIN)))
    first.shutdown(socket.SHUT_RD)
    monitor.run_pass()
    assert receive(second) == ack(1, MIN)
    assert monitor.reports == [reports.EndpointClosed("0", 0, 1, "EPIPE")]
