# SPDX-License-Identifier: Apache-2.0
"""`VCpuClock`, with the parts of the monitor and with a scripted host."""

from __future__ import annotations

import contextlib
import os
import socket
import threading
from typing import TYPE_CHECKING

import pytest

from orchestrator.channel.protocol import (
    Answer,
    Command,
    PolicyKind,
    Request,
    Unit,
    decode,
    encode_answer,
)
from orchestrator.errors import (
    AnswerMissing,
    HostAbsent,
    PacketError,
    RequestRefused,
)
from orchestrator.guest.calls import VCpuCapabilities
from orchestrator.guest.clock import VCpuClock
from orchestrator.guest.policies import new_policy
from orchestrator.guest.port import Port
from tests.guest.energy_figures import ENERGY, FIGURES
from tests.guest.serving_monitor import ServingMonitor, port_of
from tests.monitor.in_process_monitor import (
    LOWEST,
    MIDDLE,
    NOMINAL,
    SIZE,
    TURBO,
    InProcessMonitor,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

TIMEOUT_S = 20.0


@pytest.fixture
def clock(monitor: InProcessMonitor) -> Iterator[VCpuClock]:
    guest = monitor.simple()
    with VCpuClock(0, timeout_s=TIMEOUT_S, port=port_of(guest)) as clock:
        yield clock


@pytest.fixture
def ends() -> Iterator[tuple[VCpuClock, socket.socket]]:
    """A clock with a short timeout, and the host's end of its channel."""
    ours, theirs = socket.socketpair()
    with theirs, VCpuClock(0, timeout_s=0.01, port=Port(ours.detach())) as clock:
        theirs.settimeout(TIMEOUT_S)
        yield clock, theirs


def receive(host: socket.socket) -> bytes:
    packet = host.recv(SIZE, socket.MSG_WAITALL)
    assert len(packet) == SIZE
    return packet


@contextlib.contextmanager
def answering(host: socket.socket) -> Iterator[None]:
    """Acknowledge, in a thread, everything that the guest sends."""
    host.settimeout(None)

    def echo() -> None:
        while data := host.recv(SIZE, socket.MSG_WAITALL):
            host.sendall(data)

    thread = threading.Thread(target=echo)
    thread.start()
    yield
    host.shutdown(socket.SHUT_RD)
    thread.join()


@contextlib.contextmanager
def reconnected(clock: VCpuClock) -> Iterator[socket.socket]:
    """Connect the port to another host, under the same descriptor."""
    ours, back = socket.socketpair()
    with ours, back:
        ours.settimeout(0)
        back.settimeout(TIMEOUT_S)
        os.dup2(ours.fileno(), clock._port.fileno())
        yield back


# With the parts of the monitor


def test_each_request_is_applied_before_it_returns(
    monitor: InProcessMonitor, clock: VCpuClock
) -> None:
    frequencies = []
    with ServingMonitor(monitor):
        for request in (
            clock.freq_enable_turbo,
            clock.freq_disable_turbo,
            clock.freq_up,
            clock.freq_down,
            clock.freq_min,
            clock.freq_max,
        ):
            request()
            frequencies.append(monitor.frequency())
    assert frequencies == [TURBO, NOMINAL, NOMINAL, MIDDLE, LOWEST, NOMINAL]


def test_a_refusal_is_an_error_and_the_next_request_works(
    monitor: InProcessMonitor, clock: VCpuClock
) -> None:
    monitor.define_domain(is_enforced=False)
    with ServingMonitor(monitor), pytest.raises(RequestRefused, match="min for vCPU 0"):
        clock.freq_min()
    monitor.define_domain()
    with ServingMonitor(monitor):
        clock.freq_min()
    assert monitor.frequency() == LOWEST


def test_queries_return_the_frequencies_of_the_vm(
    monitor: InProcessMonitor, clock: VCpuClock
) -> None:
    monitor.define_domain(groups=(0, None))
    with ServingMonitor(monitor):
        clock.freq_min()
        assert clock.query_freq() == LOWEST
        assert clock.query_freqs() == {0: LOWEST, 1: None}
        assert clock.query_freq(1) is None
        assert clock.query_caps() == VCpuCapabilities(has_turbo=True, is_priority=False)
        assert clock.query_all_caps() == {
            0: VCpuCapabilities(has_turbo=True, is_priority=False),
            1: VCpuCapabilities(has_turbo=False, is_priority=False),
        }


def test_the_energy_of_the_vm_is_queried(
    monitor: InProcessMonitor, clock: VCpuClock
) -> None:
    monitor.write_energy(FIGURES)
    with ServingMonitor(monitor):
        assert clock.query_energy() == ENERGY
        monitor.define_domain(may_query_energy=False)
        with pytest.raises(RequestRefused, match="the energy of this VM"):
            clock.query_energy()


def test_a_host_that_does_not_know_the_query_of_energy_does_not_answer_it(
    ends: tuple[VCpuClock, socket.socket],
) -> None:
    clock, host = ends
    with pytest.raises(AnswerMissing, match="the energy of this VM"):
        clock.query_energy()
    assert decode(receive(host)).command == Command.QUERY_ENERGY


def test_a_query_about_a_vcpu_that_the_vm_lacks_is_refused(
    monitor: InProcessMonitor, clock: VCpuClock
) -> None:
    with ServingMonitor(monitor):
        for query in (clock.query_freq, clock.query_caps):
            with pytest.raises(RequestRefused, match="vCPU 5"):
                query(5)
            with pytest.raises(PacketError, match="vCPU 8"):
                query(8)


def test_a_policy_waits_for_the_answer(
    monitor: InProcessMonitor, clock: VCpuClock
) -> None:
    policy = new_policy(PolicyKind.BRANCH_RATIO, (0,))
    monitor.define_domain(may_send_policies=False)
    with ServingMonitor(monitor), pytest.raises(RequestRefused, match="the policy"):
        clock.send_policy(policy)


def test_a_disconnected_host_is_absent(
    monitor: InProcessMonitor, clock: VCpuClock
) -> None:
    with ServingMonitor(monitor):
        clock.freq_min()
    for endpoint in list(monitor.epoll_set.endpoints.values()):
        endpoint.close()
    assert not clock.has_host()
    with pytest.raises(HostAbsent, match="no host is connected"):
        clock.freq_min()


# With a scripted host


def test_the_first_request_sends_connect_and_retries_until_the_host_is_ready(
    ends: tuple[VCpuClock, socket.socket],
) -> None:
    clock, host = ends
    with pytest.raises(AnswerMissing, match="min for vCPU 0"):
        clock.freq_min()
    packets = [decode(receive(host)) for _ in range(8)]
    ready = Request(0, Unit.SCALE_MAX)
    assert packets == [
        Request(0, 0, Command.CONNECT),
        *[ready] * 6,
        Request(0, Unit.SCALE_MIN),
    ]


def test_a_query_sends_no_connect(
    ends: tuple[VCpuClock, socket.socket],
) -> None:
    clock, host = ends
    with pytest.raises(AnswerMissing):
        clock.query_freqs()
    clock.remove_policy()
    assert decode(receive(host)).command == Command.QUERY_FREQ_LIST
    assert decode(receive(host)).command == Command.PKT_POLICY_REMOVE


def test_a_late_answer_is_not_taken_for_the_next_one(
    ends: tuple[VCpuClock, socket.socket],
) -> None:
    clock, host = ends
    with pytest.raises(AnswerMissing):
        clock.freq_max()
    late = [receive(host) for _ in range(8)][1:]
    for packet in late:
        host.sendall(packet)
    with pytest.raises(AnswerMissing):
        clock.freq_min()
    # The host is connected now; its late refusal of the earlier request is dropped.
    refusal = encode_answer(receive(host), Answer.NACK)
    host.sendall(refusal[:100])
    host.sendall(refusal[100:])
    with pytest.raises(AnswerMissing):
        clock.freq_down()


def test_a_host_that_reconnects_gets_connect_again(
    ends: tuple[VCpuClock, socket.socket],
) -> None:
    clock, host = ends
    with pytest.raises(AnswerMissing):
        clock.freq_max()
    host.close()
    with pytest.raises(HostAbsent):
        clock.freq_max()
    with pytest.raises(HostAbsent):
        clock.query_freq()
    with reconnected(clock) as back:
        assert clock.has_host()
        with pytest.raises(AnswerMissing):
            clock.freq_max()
        assert decode(receive(back)).command == Command.CONNECT


def test_a_host_that_reconnected_meanwhile_gets_connect_again(
    ends: tuple[VCpuClock, socket.socket],
) -> None:
    clock, host = ends
    with answering(host):
        clock.freq_max()
    with reconnected(clock) as back:
        commands = []
        for _ in range(2):
            with pytest.raises(AnswerMissing):
                clock.freq_max()
            commands.append(decode(receive(back)).command)
    assert commands == [Command.CPU_POWER, Command.CONNECT]
