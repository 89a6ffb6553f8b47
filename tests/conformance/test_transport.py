# SPDX-License-Identifier: Apache-2.0
"""T1 to T13 of docs/conformance.md: defects of the peer's transport."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
from typing import TYPE_CHECKING

import pytest

from bench.process_stats import read_writes
from orchestrator import events
from orchestrator.channel.protocol import (
    GENERATIONS,
    Answer,
    Command,
    PolicyPacket,
    Request,
    Unit,
    encode,
    encode_answer,
    encode_connect,
    encode_policy,
    encode_refusal,
)
from orchestrator.channel.recognition import MAX_PACKETS
from orchestrator.monitor.link import commands, messages, reports
from orchestrator.monitor.process.exchange import IDLE_NS
from tests.conformance.guests import receive_all, silence
from tests.monitor.in_process_monitor import (
    LOWEST,
    MIDDLE,
    TURBO,
    InProcessMonitor,
    receive,
)
from tests.monitor.monitor_harness import TIMEOUT_S, monitor_harness
from tests.performer.connecting import connecting

if TYPE_CHECKING:
    from pathlib import Path

    from orchestrator.channel.protocol import Generation

MAX, MIN = Unit.SCALE_MAX, Unit.SCALE_MIN
LOW, HIGH = encode(Request(0, MIN)), encode(Request(0, MAX))


def test_t1_a_channel_survives_a_cut_packet(monitor: InProcessMonitor) -> None:
    guest = monitor.simple()
    assert monitor.request(guest, LOW[:100]) == b""
    assert monitor.request(guest, LOW[100:]) == LOW
    monitor.request(guest, LOW[:100])
    silence(monitor)
    assert monitor.request(guest, LOW) == LOW
    assert monitor.counts() == {"acks": 2, "errors": 1}
    assert monitor.reports == []


def test_t2_a_guest_that_hangs_up_in_a_packet_ends_its_channel_once(
    monitor: InProcessMonitor,
) -> None:
    guest = monitor.simple()
    guest.sendall(LOW[:100])
    guest.close()
    monitor.run_pass()
    monitor.run_pass()
    assert monitor.reports == [reports.EndpointClosed("0", 0, 1, "hung up")]
    assert monitor.epoll_set.wait(0, 64) == []
    assert not monitor.exchange.rest_deadlines


@pytest.mark.parametrize("generation", GENERATIONS.values())
def test_t3_a_guest_of_another_packet_size_is_recognized(
    monitor: InProcessMonitor, generation: Generation
) -> None:
    guest = monitor.simple()
    for other in (*GENERATIONS.values(), generation):
        monitor.request(guest, encode_connect(other))
        silence(monitor)
    monitor.request(guest, encode(Request(0, MIN), generation))
    assert monitor.frequency() == LOWEST
    assert monitor.reports == []


def test_t4_a_backlog_is_answered_in_few_passes_and_written_once_in_each(
    monitor: InProcessMonitor,
) -> None:
    guest = monitor.simple()
    monitor.request(guest, LOW)
    guest.sendall((HIGH + LOW) * 150 + HIGH)
    before = read_writes(os.getpid())
    passes = -(-301 // MAX_PACKETS)
    for _ in range(passes):
        monitor.run_pass()
    assert monitor.frequency() == TURBO
    after = read_writes(os.getpid())
    assert receive(guest) == (HIGH + LOW) * 150 + HIGH
    if before is not None and after is not None:
        assert after - before <= passes


def test_t5_a_clock_group_that_is_slow_to_take_delays_only_its_own_guests(
    monitor: InProcessMonitor,
) -> None:
    for number in (0, 1):
        monitor.define_group(number)
        monitor.define_domain(number, groups=(number,))
    monitor.hand_over(0, is_taken=False)
    monitor.hand_over(1)
    slow, other = monitor.adopt(0), monitor.adopt(1)
    assert monitor.request(slow, LOW) == b""
    assert monitor.request(other, LOW) == LOW
    # There is no deadline while no guest sends: the loop sleeps without a limit.
    assert not monitor.exchange.rest_deadlines
    assert not monitor.groups.deadlines


def test_t6_unread_answers_are_dropped_whole(
    monitor: InProcessMonitor,
) -> None:
    guest = monitor.simple()
    monitor.request(guest, LOW)
    for _ in range(20):
        guest.sendall((HIGH + LOW) * 50)
        monitor.run_until_idle()
    counts = monitor.counts()
    assert counts["acks"] + counts["dropped"] == 2_001
    assert counts["dropped"] > 0
    assert not len(receive_all(monitor, guest)) % 464
    assert monitor.request(guest, LOW) == LOW


def test_t7_a_partially_sent_answer_is_completed(
    monitor: InProcessMonitor,
) -> None:
    monitor.simple()
    guest = monitor.adopt()
    (endpoint,) = monitor.epoll_set.endpoints.values()
    own = socket.socket(fileno=os.dup(endpoint.fileno()))
    with own:
        own.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1)
    monitor.request(guest, LOW)
    guest.sendall((HIGH + LOW) * 50)
    answers = b""
    for _ in range(20):
        monitor.run_pass()
        answers += receive(guest)
    assert not len(answers) % 464
    assert monitor.request(guest, LOW) == LOW


def test_t8_a_failed_connection_leaks_no_descriptor(tmp_path: Path) -> None:
    async def run() -> None:
        async with connecting(tmp_path) as host:
            with host.listen(1) as listener:
                listener.listen(99)  # closed connections stay in the backlog
                host.connect(0)
                await host.wait_for(0, events.ChannelAbsent)
                before = _count_descriptors()
                for _ in range(3):
                    host.connect(0)
                    await host.wait_for(0, events.ChannelAbsent)
                    host.connect(1)  # not accepted
                    await host.wait_for(1, events.ChannelContended)
                host.trusted_uids.clear()
                host.connect(1)
                await host.wait_for(1, events.ChannelRefused)
                assert _count_descriptors() == before

    asyncio.run(run())


def _count_descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))  # noqa: PTH208 - names are enough


@pytest.mark.parametrize("is_main_first", [True, False])
def test_t9_a_channel_whose_domain_is_gone_may_hang_up(
    monitor: InProcessMonitor,
    is_main_first: bool,  # noqa: FBT001
) -> None:
    guest = monitor.simple()
    monitor.request(guest, LOW)
    # Both are noticed in the same pass, in either order.
    monitor.main.send(messages.encode(commands.ForgetDomain("0", (0,))))
    guest.close()
    main_fd = monitor.handoff.fileno()
    events = monitor.epoll_set.wait(0, 64)
    assert len(events) == 2
    events.sort(key=lambda event: (event[0] == main_fd) is not is_main_first)
    monitor.loop.handle(events, monitor.now_ns)
    ends = [reports.EndpointClosed("0", 0, 1, "hung up")]
    assert monitor.reports == ([] if is_main_first else ends)
    monitor.apply(commands.CloseChannel("0", 0))
    monitor.run_pass()
    assert monitor.epoll_set.wait(0, 64) == []


def test_t10_the_monitor_ends_on_command_and_by_no_signal(tmp_path: Path) -> None:
    async def run() -> None:
        async with monitor_harness(tmp_path) as main:
            guest, pid = main.simple(), main.monitor.pid
            assert pid is not None
            for number in (signal.SIGINT, signal.SIGTERM):
                os.kill(pid, number)
            assert await guest.request(MIN) == "ACK"
            await main.monitor.stop(TIMEOUT_S)
            assert main.monitor.pid is None
            assert await guest.receive() == b""

    asyncio.run(run())


def test_t11_a_disabled_channel_refuses_at_once(monitor: InProcessMonitor) -> None:
    guest = monitor.simple()
    monitor.apply(commands.SwitchChannel("0", 0, is_enabled=False))
    assert monitor.request(guest, LOW) == encode_answer(LOW, Answer.NACK)
    assert monitor.reasons() == {"disabled": 1}


def test_t12_every_refusal_is_an_answer(monitor: InProcessMonitor) -> None:
    guest = monitor.simple()
    monitor.define_domain(may_query=False, may_send_policies=False)
    query = encode(Request(0, 0, Command.QUERY_CAPS))
    assert monitor.request(guest, query) == encode_refusal(Command.QUERY_CAPS)
    unit = encode(Request(0, 77))
    assert monitor.request(guest, unit) == encode_answer(unit, Answer.NACK)
    policy = encode_policy(PolicyPacket())
    assert monitor.request(guest, policy) == encode_answer(policy, Answer.NACK)
    assert monitor.counts() == {"nacks": 3}


def test_t13_a_policy_is_acknowledged_when_it_is_installed(
    monitor: InProcessMonitor,
) -> None:
    guest, policy = monitor.simple(), encode_policy(PolicyPacket())
    for is_accepted, answer in ((True, Answer.ACK), (False, Answer.NACK)):
        assert monitor.request(guest, policy) == b""
        monitor.answer_policy(monitor.policies()[-1], is_accepted=is_accepted)
        assert receive(guest) == encode_answer(policy, answer)


def test_t3_a_wrong_guess_costs_only_the_bytes_that_it_was_based_on(
    monitor: InProcessMonitor,
) -> None:
    guest = monitor.simple()
    monitor.request(guest, encode(Request(0, MAX), GENERATIONS[456]) + LOW[:8])
    assert monitor.generation() == (464, False)
    monitor.now_ns += IDLE_NS
    monitor.request(guest, encode(Request(0, MIN), GENERATIONS[456]))
    silence(monitor)
    assert monitor.generation() == (456, False)
    assert monitor.frequency() == LOWEST
    monitor.request(guest, encode(Request(0, Unit.SCALE_UP), GENERATIONS[456]))
    assert monitor.frequency() == MIDDLE
