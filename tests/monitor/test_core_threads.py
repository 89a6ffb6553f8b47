# SPDX-License-Identifier: Apache-2.0
"""A vCPU that is pinned to the threads of a core votes in the clock groups of all."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from orchestrator.channel.protocol import (
    Command,
    Request,
    Unit,
    decode_frequencies,
    encode,
    encode_connect,
)
from orchestrator.monitor.link import commands, reports
from orchestrator.monitor.link.table import create_table
from tests.monitor.in_process_monitor import (
    LOWEST,
    MIDDLE,
    SECOND_NS,
    TURBO,
    InProcessMonitor,
    ack,
    nack,
    receive,
)

if TYPE_CHECKING:
    import socket
    from pathlib import Path

UP, DOWN, MAX, MIN, ENABLE, DISABLE = Unit
REQUEST_MIN = encode(Request(0, MIN))


def pinned_to_a_core(
    monitor: InProcessMonitor, *, are_taken: tuple[bool, bool] = (True, True)
) -> socket.socket:
    """Define a domain whose vCPU 0 is pinned to the threads 0 and 1 of a core."""
    for number, is_taken in enumerate(are_taken):
        monitor.define_group(number)
        monitor.hand_over(number, is_taken=is_taken)
    monitor.define_domain(siblings=(1,))
    return monitor.adopt()


def frequencies(monitor: InProcessMonitor) -> tuple[int, int]:
    return monitor.frequency(0), monitor.frequency(1)


def take(monitor: InProcessMonitor, number: int, *, is_taken: bool = True) -> None:
    monitor.apply(commands.AnswerTake(number, is_taken))


def wanted(monitor: InProcessMonitor) -> list[int]:
    return [r.group for r in monitor.reports if isinstance(r, reports.TakeWanted)]


def test_a_request_changes_the_frequency_of_all_threads(
    monitor: InProcessMonitor,
) -> None:
    guest = pinned_to_a_core(monitor)
    for unit, khz in ((MIN, LOWEST), (UP, MIDDLE), (MAX, TURBO), (MIN, LOWEST)):
        assert monitor.request(guest, encode(Request(0, unit))) == ack(0, unit)
        assert frequencies(monitor) == (khz, khz)
    assert (monitor.grant(0), monitor.grant(1)) == (LOWEST, LOWEST)


def test_the_last_request_of_a_burst_counts_for_all_threads(
    monitor: InProcessMonitor,
) -> None:
    guest = pinned_to_a_core(monitor)
    burst = REQUEST_MIN + encode(Request(0, MAX)) + encode(Request(0, DISABLE))
    assert len(monitor.request(guest, burst)) == len(burst)
    assert frequencies(monitor) == (3_000_000, 3_000_000)


def test_an_answer_waits_until_all_threads_are_taken(monitor: InProcessMonitor) -> None:
    guest = pinned_to_a_core(monitor, are_taken=(False, False))
    assert monitor.request(guest, REQUEST_MIN) == b""
    assert wanted(monitor) == [0, 1]
    take(monitor, 0)
    assert receive(guest) == b""
    take(monitor, 1)
    assert receive(guest) == ack(0, MIN)
    assert frequencies(monitor) == (LOWEST, LOWEST)
    assert monitor.counts() == {"acks": 1}


def test_an_answer_waits_for_the_thread_that_is_missing(
    monitor: InProcessMonitor,
) -> None:
    guest = pinned_to_a_core(monitor, are_taken=(True, False))
    assert monitor.request(guest, REQUEST_MIN) == b""
    assert wanted(monitor) == [1]
    take(monitor, 1)
    assert receive(guest) == ack(0, MIN)


def test_a_request_is_refused_if_one_thread_cannot_be_taken(
    monitor: InProcessMonitor,
) -> None:
    guest = pinned_to_a_core(monitor, are_taken=(False, False))
    monitor.request(guest, REQUEST_MIN)
    take(monitor, 1, is_taken=False)
    assert receive(guest) == b""
    take(monitor, 0)
    assert receive(guest) == nack(0, MIN)
    assert monitor.request(guest, REQUEST_MIN) == nack(0, MIN)
    assert monitor.reasons() == {"claim": 2}


def test_a_request_is_refused_if_the_kernel_refuses_one_thread(
    monitor: InProcessMonitor,
) -> None:
    guest = pinned_to_a_core(monitor)
    monitor.refuse_writes(1)
    assert monitor.request(guest, REQUEST_MIN) == nack(0, MIN)
    assert monitor.frequency(0) == LOWEST
    assert monitor.reasons() == {"kernel": 1}


def test_an_override_of_one_thread_refuses_requests(monitor: InProcessMonitor) -> None:
    guest = pinned_to_a_core(monitor)
    monitor.define_group(1, override_khz=MIDDLE)
    assert monitor.request(guest, REQUEST_MIN) == nack(0, MIN)
    assert frequencies(monitor) == (LOWEST, MIDDLE)
    assert monitor.reasons() == {"overridden": 1}
    monitor.define_group(1)
    assert frequencies(monitor) == (LOWEST, LOWEST)


def test_a_neighbor_on_one_thread_keeps_that_thread_up(
    monitor: InProcessMonitor,
) -> None:
    guest = pinned_to_a_core(monitor)
    monitor.define_domain(1, groups=(1,))
    assert monitor.request(guest, REQUEST_MIN) == ack(0, MIN)
    assert frequencies(monitor) == (LOWEST, TURBO)


def test_connect_is_a_vote_in_all_threads(monitor: InProcessMonitor) -> None:
    guest = pinned_to_a_core(monitor, are_taken=(False, False))
    assert monitor.request(guest, encode_connect()) == b""
    assert wanted(monitor) == [0, 1]


def test_a_query_returns_the_higher_grant_of_the_threads(
    monitor: InProcessMonitor,
) -> None:
    guest = pinned_to_a_core(monitor)
    monitor.define_domain(1, groups=(1,))
    monitor.request(guest, REQUEST_MIN)
    query = encode(Request(0, 0, Command.QUERY_FREQ))
    assert decode_frequencies(monitor.request(guest, query)).khz[0] == TURBO


def test_a_policy_s_vote_takes_and_sets_all_threads(monitor: InProcessMonitor) -> None:
    pinned_to_a_core(monitor, are_taken=(False, False))
    monitor.apply(commands.SetPolicyVote("0", 0, MIDDLE))
    assert wanted(monitor) == [0, 1]
    take(monitor, 0)
    take(monitor, 1)
    assert frequencies(monitor) == (MIDDLE, MIDDLE)
    monitor.apply(commands.SetPolicyVote("0", 0, 0))
    assert frequencies(monitor) == (TURBO, TURBO)


def test_all_threads_are_yielded_after_the_last_vote(monitor: InProcessMonitor) -> None:
    guest = pinned_to_a_core(monitor)
    monitor.request(guest, REQUEST_MIN)
    guest.close()
    monitor.run_pass()
    assert frequencies(monitor) == (TURBO, TURBO)
    monitor.now_ns += SECOND_NS
    monitor.groups.expire()
    yielded = [r.group for r in monitor.reports if isinstance(r, reports.GroupYielded)]
    assert yielded == [0, 1]


def test_a_thread_that_goes_offline_and_comes_back_ends_no_vote(
    monitor: InProcessMonitor,
) -> None:
    guest = pinned_to_a_core(monitor)
    monitor.request(guest, REQUEST_MIN)
    monitor.define_domain()
    assert (monitor.vote(), frequencies(monitor)) == (LOWEST, (LOWEST, TURBO))
    # With one thread it is an ordinary vCPU, whose requests are precomputed.
    assert monitor.request(guest, encode(Request(0, MAX))) == ack(0, MAX)
    assert monitor.request(guest, REQUEST_MIN) == ack(0, MIN)
    monitor.define_domain(siblings=(1,))
    assert frequencies(monitor) == (LOWEST, LOWEST)
    assert monitor.request(guest, encode(Request(0, MAX))) == ack(0, MAX)
    assert frequencies(monitor) == (TURBO, TURBO)


def test_a_vcpu_that_moves_leaves_all_threads(monitor: InProcessMonitor) -> None:
    guest = pinned_to_a_core(monitor)
    monitor.define_group(2)
    monitor.request(guest, REQUEST_MIN)
    monitor.define_domain(groups=(2,))
    assert (monitor.vote(), frequencies(monitor)) == (0, (TURBO, TURBO))


def test_a_new_monitor_resumes_the_vote_in_all_threads(tmp_path: Path) -> None:
    table_fd = create_table()
    with InProcessMonitor(tmp_path, table_fd=table_fd) as earlier:
        earlier.request(pinned_to_a_core(earlier), REQUEST_MIN)
    with InProcessMonitor(tmp_path, table_fd=table_fd) as later:
        pinned_to_a_core(later)
        assert frequencies(later) == (LOWEST, LOWEST)
    os.close(table_fd)
