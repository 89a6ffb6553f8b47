# SPDX-License-Identifier: Apache-2.0
"""Clock groups of emulator and I/O threads, which follow the vCPUs of their domain."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from orchestrator.channel.protocol import Request, Unit, encode, encode_connect
from orchestrator.monitor.link import commands, reports
from orchestrator.monitor.link.table import create_table
from orchestrator.monitor.process.clock import Stage
from tests.monitor.in_process_monitor import (
    LOWEST,
    MIDDLE,
    SECOND_NS,
    TURBO,
    InProcessMonitor,
    ack,
)

if TYPE_CHECKING:
    import socket
    from pathlib import Path

UP, DOWN, MAX, MIN, ENABLE, DISABLE = Unit
EMULATOR = 2
"""The group that follows; the vCPUs are in groups 0 and 1."""


def followed(monitor: InProcessMonitor, *, is_taken: bool = True) -> socket.socket:
    """Define a domain with two vCPUs and a group that follows them."""
    for number in (0, 1, EMULATOR):
        monitor.define_group(number)
        monitor.hand_over(number, is_taken=is_taken or number != EMULATOR)
    monitor.define_domain(groups=(0, 1), following=(EMULATOR,))
    return monitor.adopt()


def request(
    monitor: InProcessMonitor, guest: socket.socket, vcpu: int, unit: Unit
) -> None:
    assert monitor.request(guest, encode(Request(vcpu, unit))) == ack(vcpu, unit)


def wanted(monitor: InProcessMonitor) -> list[int]:
    return [r.group for r in monitor.reports if isinstance(r, reports.TakeWanted)]


def test_it_has_the_frequency_of_the_vcpu_that_requests_most(
    monitor: InProcessMonitor,
) -> None:
    guest = followed(monitor)
    request(monitor, guest, 0, MIN)
    assert monitor.frequency(EMULATOR) == TURBO  # vCPU 1 has no vote
    request(monitor, guest, 1, MIN)
    assert monitor.frequency(EMULATOR) == LOWEST
    for vcpu, unit, khz in (
        *((0, UP, MIDDLE), (1, MAX, TURBO), (1, MIN, MIDDLE), (0, MIN, LOWEST)),
        *((0, MAX, TURBO), (0, MIN, LOWEST), (0, MAX, TURBO), (0, MIN, LOWEST)),
    ):
        request(monitor, guest, vcpu, unit)
        assert monitor.frequency(EMULATOR) == khz
    assert monitor.grant(EMULATOR) == LOWEST


def test_the_last_request_of_a_burst_counts(monitor: InProcessMonitor) -> None:
    guest = followed(monitor)
    request(monitor, guest, 1, MIN)
    burst = encode(Request(0, MAX)) + encode(Request(0, MIN)) * 2
    assert len(monitor.request(guest, burst)) == len(burst)
    assert monitor.frequency(EMULATOR) == LOWEST


def test_the_first_vote_takes_it_and_no_answer_waits_for_it(
    monitor: InProcessMonitor,
) -> None:
    guest = followed(monitor, is_taken=False)
    assert wanted(monitor) == []
    request(monitor, guest, 0, MIN)
    request(monitor, guest, 1, MIN)
    assert wanted(monitor) == [EMULATOR]
    monitor.apply(commands.AnswerTake(EMULATOR, is_taken=True))
    assert monitor.frequency(EMULATOR) == LOWEST


def test_a_connection_takes_it(monitor: InProcessMonitor) -> None:
    guest = followed(monitor, is_taken=False)
    monitor.request(guest, encode_connect())
    assert wanted(monitor) == [EMULATOR]


def test_a_request_is_acknowledged_though_the_kernel_refuses_its_frequency(
    monitor: InProcessMonitor,
) -> None:
    guest = followed(monitor)
    monitor.refuse_writes(EMULATOR)
    request(monitor, guest, 0, MIN)
    assert monitor.frequency(0) == LOWEST
    assert monitor.refusals(EMULATOR) > 0


def test_a_take_that_failed_is_retried_when_it_is_handed_over_again(
    monitor: InProcessMonitor,
) -> None:
    guest = followed(monitor, is_taken=False)
    request(monitor, guest, 0, MIN)
    monitor.apply(commands.AnswerTake(EMULATOR, is_taken=False))
    request(monitor, guest, 0, MIN)
    assert wanted(monitor) == [EMULATOR]
    monitor.now_ns += 2 * SECOND_NS
    monitor.hand_over(EMULATOR, is_taken=False)
    assert wanted(monitor) == [EMULATOR, EMULATOR]


def test_a_policy_takes_it_and_counts_in_it(monitor: InProcessMonitor) -> None:
    followed(monitor, is_taken=False)
    for vcpu in (0, 1):
        monitor.apply(commands.SetPolicyVote("0", vcpu, MIDDLE))
    assert wanted(monitor) == [EMULATOR]
    monitor.apply(commands.AnswerTake(EMULATOR, is_taken=True))
    assert monitor.frequency(EMULATOR) == MIDDLE
    monitor.apply(commands.SetPolicyVote("0", 0, TURBO))
    assert monitor.frequency(EMULATOR) == TURBO


def test_it_is_released_when_the_last_vote_has_ended(monitor: InProcessMonitor) -> None:
    guest = followed(monitor)
    clock = monitor.groups.clocks[EMULATOR]
    monitor.apply(commands.SetPolicyVote("0", 1, MIDDLE))
    request(monitor, guest, 0, MIN)
    guest.close()
    monitor.run_pass()
    assert clock not in monitor.groups.deadlines
    monitor.apply(commands.SetPolicyVote("0", 1, 0))
    assert monitor.frequency(EMULATOR) == TURBO
    monitor.now_ns += 2 * SECOND_NS
    monitor.groups.expire()
    assert clock.stage is Stage.YIELDED
    assert reports.GroupYielded(EMULATOR) in monitor.reports


def test_a_new_vote_keeps_it(monitor: InProcessMonitor) -> None:
    guest = followed(monitor)
    request(monitor, guest, 0, MIN)
    guest.close()
    monitor.run_pass()
    assert monitor.groups.clocks[EMULATOR] in monitor.groups.deadlines
    request(monitor, monitor.adopt(), 0, MIN)
    assert monitor.groups.clocks[EMULATOR] not in monitor.groups.deadlines


def test_a_guest_of_another_domain_is_not_slower_in_it_than_the_domain(
    monitor: InProcessMonitor,
) -> None:
    guest = followed(monitor)
    monitor.define_domain(1, groups=(EMULATOR,))
    neighbor = monitor.adopt(1)
    for vcpu in (0, 1):
        request(monitor, guest, vcpu, MIN)
    for unit, khz in ((MIN, LOWEST), (MAX, TURBO), (MIN, LOWEST)):
        request(monitor, neighbor, 0, unit)
        assert monitor.frequency(EMULATOR) == khz
    request(monitor, guest, 1, UP)
    request(monitor, neighbor, 0, MIN)
    assert monitor.frequency(EMULATOR) == MIDDLE


def test_it_ends_with_the_setting_and_with_the_domain(
    monitor: InProcessMonitor,
) -> None:
    guest = followed(monitor)
    monitor.define_domain(1, groups=(EMULATOR,))
    neighbor = monitor.adopt(1)
    request(monitor, guest, 0, MAX)
    request(monitor, neighbor, 0, MIN)
    assert monitor.frequency(EMULATOR) == TURBO
    monitor.define_domain(groups=(0, 1))
    assert monitor.frequency(EMULATOR) == LOWEST
    monitor.define_domain(groups=(0, 1), following=(EMULATOR,))
    assert monitor.frequency(EMULATOR) == TURBO
    monitor.apply(commands.ForgetDomain("0"))
    assert monitor.frequency(EMULATOR) == LOWEST


def test_a_paused_domain_is_not_followed(monitor: InProcessMonitor) -> None:
    guest = followed(monitor)
    monitor.define_domain(1, groups=(EMULATOR,))
    request(monitor, monitor.adopt(1), 0, MIN)
    request(monitor, guest, 0, MAX)
    monitor.define_domain(groups=(0, 1), following=(EMULATOR,), is_executing=False)
    assert monitor.frequency(EMULATOR) == LOWEST


def test_steps_that_change_elsewhere_count(monitor: InProcessMonitor) -> None:
    guest = followed(monitor)
    for vcpu in (0, 1):
        request(monitor, guest, vcpu, MIN)
    monitor.define_group(1, steps=(MIDDLE,))
    assert monitor.frequency(EMULATOR) == MIDDLE


def test_a_new_monitor_resumes_it_from_the_votes_in_the_table(tmp_path: Path) -> None:
    fd = create_table()
    with InProcessMonitor(tmp_path, table_fd=fd) as dead:
        guest = followed(dead)
        for vcpu in (0, 1):
            request(dead, guest, vcpu, MIN)
    with InProcessMonitor(tmp_path, table_fd=fd) as monitor:
        os.close(fd)
        followed(monitor, is_taken=False)
        assert wanted(monitor) == [EMULATOR]
        monitor.apply(commands.AnswerTake(EMULATOR, is_taken=True))
        assert monitor.frequency(EMULATOR) == LOWEST
