# SPDX-License-Identifier: Apache-2.0
"""W1 to W17 of docs/conformance.md: what a DPDK guest finds at the other end."""

from __future__ import annotations

import time
from itertools import pairwise
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.channel.protocol import (
    GENERATIONS,
    Answer,
    Command,
    EnergyFigures,
    FigureSource,
    PolicyPacket,
    Request,
    Unit,
    decode_energy,
    decode_frequencies,
    encode,
    encode_answer,
    encode_connect,
    encode_energy_refusal,
    encode_policy,
)
from orchestrator.monitor.link import commands
from orchestrator.monitor.process.answers import LATE_NS
from tests.channel.vectors import read_vectors
from tests.conformance.guests import GARBAGE, fresh_monitor, receive_all, silence
from tests.monitor.in_process_monitor import LOWEST, TURBO, InProcessMonitor, receive

if TYPE_CHECKING:
    from orchestrator.channel.protocol import Generation

MAX, MIN = Unit.SCALE_MAX, Unit.SCALE_MIN
LOW = encode(Request(0, MIN))


@pytest.mark.parametrize(
    ("generation", "sizes"),
    [(16, []), (456, []), (460, [460, 84, 180]), (464, [464, 88, 184])],
)
def test_w1_layouts_and_sizes(
    monitor: InProcessMonitor, generation: int, sizes: list[int]
) -> None:
    layout = GENERATIONS[generation]
    monitor.simple()
    monitor.define_domain(generation=generation)
    guest = monitor.adopt()
    asked = (
        Request(0, MIN),
        Request(0, 0, Command.QUERY_FREQ_LIST),
        Request(0, 0, Command.QUERY_CAPS_LIST),
    )
    requests = [encode(request, layout) for request in asked]
    assert [len(request) for request in requests] == [generation] * 3
    answers = [monitor.request(guest, request) for request in requests]
    assert [len(answer) for answer in answers if answer] == sizes
    assert monitor.frequency() == LOWEST


def test_w2_an_ack_is_the_request(monitor: InProcessMonitor) -> None:
    guest, vectors = monitor.simple(), read_vectors()
    monitor.define_domain(groups=(0,) * 4)
    request = vectors["G4.CPU_POWER_SCALE_MAX_lcore3"]
    assert (
        monitor.request(guest, request) == vectors["G4.reply_ACK_to_SCALE_MAX_lcore3"]
    )


def test_w3_a_nack_is_the_request_with_one_field_changed(
    monitor: InProcessMonitor,
) -> None:
    vectors = read_vectors()
    monitor.simple()
    monitor.define_domain(groups=(0,) * 4, is_turbo_allowed=False)
    request = vectors["G4.CPU_POWER_ENABLE_TURBO_lcore3"]
    answer = monitor.request(monitor.adopt(), request)
    assert answer == vectors["G4.reply_NACK_to_ENABLE_TURBO_lcore3"]


def test_w4_connect_is_not_answered(monitor: InProcessMonitor) -> None:
    guest = monitor.simple()
    assert monitor.request(guest, encode_connect()) == b""
    assert monitor.request(guest, LOW) == LOW
    assert monitor.counts() == {"acks": 1}


def test_w5_an_unknown_unit_is_refused_where_the_peer_does_not_answer(
    monitor: InProcessMonitor,
) -> None:
    guest = monitor.simple()
    for unit in (0, 7, 2**32 - 1):
        packet = encode(Request(0, unit))
        assert monitor.request(guest, packet) == encode_answer(packet, Answer.NACK)
    assert monitor.reasons() == {"unit": 3}


def test_w6_the_removal_of_a_policy_is_not_answered(monitor: InProcessMonitor) -> None:
    guest = monitor.simple()
    assert monitor.request(guest, read_vectors()["G4.PKT_POLICY_REMOVE"]) == b""
    assert monitor.request(guest, LOW) == LOW


def test_w7_an_answer_comes_within_10_ms_or_not_at_all(
    monitor: InProcessMonitor,
) -> None:
    guest = monitor.simple()
    guest.sendall(LOW)
    monitor.run_pass(age_ns=LATE_NS - 1)
    assert receive(guest) == LOW
    guest.sendall(LOW)
    monitor.run_pass(age_ns=LATE_NS)
    assert receive(guest) == b""
    assert LATE_NS < 10_000_000


@pytest.mark.parametrize("is_known", [True, False])
@given(cuts=st.sets(st.integers(1, 3 * 464 - 1), max_size=6))
def test_w8_packets_may_be_cut_anywhere(is_known: bool, cuts: set[int]) -> None:  # noqa: FBT001
    with fresh_monitor() as monitor:
        guest, high = monitor.simple(), encode(Request(0, MAX))
        if is_known:  # the guest's generation
            monitor.request(guest, high)
        stream = LOW + high + LOW
        edges = [0, *sorted(cuts), len(stream)]
        answers = b""
        for start, end in pairwise(edges):
            answers += monitor.request(guest, stream[start:end])
            assert len(answers) == end - end % 464
        assert answers == stream


def test_w9_packets_may_arrive_together(monitor: InProcessMonitor) -> None:
    guest, high = monitor.simple(), encode(Request(0, MAX))
    assert monitor.request(guest, (LOW + high) * 60) == (LOW + high) * 60
    assert monitor.frequency() == TURBO


@pytest.mark.parametrize("generation", GENERATIONS.values())
@given(garbage=GARBAGE)
def test_w10_only_the_command_of_a_connect_is_used(
    generation: Generation, garbage: bytes
) -> None:
    with fresh_monitor() as monitor:
        monitor.simple()
        monitor.define_domain(generation=generation.size_bytes)
        packet = bytearray(garbage[: generation.size_bytes])
        packet[12:16] = b"\2\0\0\0"
        guest = monitor.adopt()
        assert monitor.request(guest, bytes(packet)) == b""
        assert monitor.vote() == TURBO
        assert monitor.counts() == {}


def test_w11_a_guest_that_never_reads_is_served_ten_thousand_times(
    monitor: InProcessMonitor,
) -> None:
    guest = monitor.simple()
    burst = (encode(Request(0, MAX)) + LOW) * 50
    for _ in range(100):
        guest.sendall(burst)
        monitor.run_until_idle()
    assert monitor.frequency() == LOWEST
    counts = monitor.counts()
    assert counts["acks"] + counts["dropped"] == 10_000
    # The next program that opens the port finds only whole answers.
    assert not len(receive_all(monitor, guest)) % 464


def test_w12_a_host_that_reconnects_needs_no_connect(monitor: InProcessMonitor) -> None:
    guest = monitor.simple()
    monitor.request(guest, encode_connect())
    again = monitor.adopt()
    assert monitor.request(again, LOW) == LOW
    assert monitor.frequency() == LOWEST
    # A restarted host knows nothing of its guest, and has not taken its clock group.
    with fresh_monitor() as other:
        other.define_group()
        other.hand_over(is_taken=False)
        other.define_domain()
        guest = other.adopt()
        assert other.request(guest, LOW) == b""
        other.apply(commands.AnswerTake(0, is_taken=True))
        assert receive(guest) == LOW
        assert other.frequency() == LOWEST


def test_w13_a_host_cpu_in_a_guest_s_request_is_refused(
    monitor: InProcessMonitor,
) -> None:
    guest = monitor.simple()
    packet = read_vectors()["G4.CPU_POWER_SCALE_MAX_physical_core5"]
    assert monitor.request(guest, packet) == encode_answer(packet, Answer.NACK)
    assert monitor.reasons() == {"physical": 1}


def test_w14_a_name_in_a_packet_affects_no_other_domain(
    monitor: InProcessMonitor,
) -> None:
    monitor.simple()
    monitor.define_group(1)
    monitor.hand_over(1)
    monitor.define_domain(1, groups=(1,))
    spoof = bytearray(LOW)
    spoof[16:24] = b"domain-1"
    guest = monitor.adopt()
    assert monitor.request(guest, bytes(spoof)) == spoof
    assert (monitor.frequency(0), monitor.frequency(1)) == (LOWEST, TURBO)
    query = PolicyPacket(command=Command.QUERY_FREQ_LIST, vm_name=b"domain-1")
    reply = decode_frequencies(monitor.request(guest, encode_policy(query)))
    assert reply.khz == (LOWEST, *[0] * 7)


@pytest.mark.parametrize("vcpu", [1, 128, 2**16, 2**32, 2**64 - 1])
def test_w15_an_unknown_vcpu_is_refused(monitor: InProcessMonitor, vcpu: int) -> None:
    packet = encode(Request(vcpu, MAX))
    assert monitor.request(monitor.simple(), packet) == encode_answer(
        packet, Answer.NACK
    )
    assert monitor.reasons() == {"no-vcpu": 1}


def test_w16_a_reply_has_at_most_8_vcpus_and_is_padded_with_zeros(
    monitor: InProcessMonitor,
) -> None:
    monitor.define_group()
    monitor.hand_over()
    monitor.define_domain(groups=(0,) * 12)
    query = encode(Request(0, 0, Command.QUERY_FREQ_LIST))
    answer = monitor.request(monitor.adopt(), query)
    reply = decode_frequencies(answer)
    assert (reply.khz, reply.num_vcpu) == ((TURBO,) * 8, 8)
    assert answer[-7:] == bytes(7)
    assert not any(answer[:12])


def test_w17_a_first_packet_of_460_bytes_is_carried_out_and_the_second_one_answered(
    monitor: InProcessMonitor,
) -> None:
    guest, low = monitor.simple(), encode(Request(0, MIN), GENERATIONS[460])
    assert monitor.request(guest, low) == b""
    silence(monitor)
    assert (receive(guest), monitor.frequency()) == (b"", LOWEST)
    assert monitor.request(guest, low) == low
    # A new connection of the same guest, and one whose generation is configured.
    assert monitor.request(monitor.adopt(), low) == low
    with fresh_monitor() as other:
        other.simple()
        other.define_domain(generation=460)
        assert other.request(other.adopt(), low) == low


def test_w17_a_packet_of_464_bytes_may_be_cut_where_one_of_460_would_end(
    monitor: InProcessMonitor,
) -> None:
    guest = monitor.simple()
    assert monitor.request(guest, LOW[:460]) == b""
    assert monitor.request(guest, LOW[460:]) == LOW


def test_w18_a_query_of_energy_is_answered_in_128_bytes(
    monitor: InProcessMonitor,
) -> None:
    guest, query = monitor.simple(), encode(Request(0, 0, Command.QUERY_ENERGY))
    assert monitor.request(guest, query) == encode_energy_refusal()
    monitor.define_domain(1)
    others = EnergyFigures._make([*range(9), FigureSource.MEASURED])
    own = others._replace(drawn_uj=100)
    monitor.write_energy(others, 1)
    monitor.write_energy(own, 0)
    answer = monitor.request(guest, query)
    assert (len(answer), decode_energy(answer)) == (128, own)
    assert (answer[:12], answer[16:48], answer[-4:]) == (bytes(12), bytes(32), bytes(4))


def test_a_real_answer_takes_less_than_the_guest_waits(
    monitor: InProcessMonitor,
) -> None:
    """W7: the median of many, so that a busy machine does not decide."""
    guest = monitor.simple()
    monitor.request(guest, LOW)
    took_ns = []
    for _ in range(200):
        began_ns = time.perf_counter_ns()
        guest.sendall(LOW)
        monitor.run_pass()
        guest.recv(464)
        took_ns.append(time.perf_counter_ns() - began_ns)
    assert sorted(took_ns)[100] < 10_000_000
