# SPDX-License-Identifier: Apache-2.0
"""Guests of all generations on real sockets, side by side."""

from __future__ import annotations

import socket
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from orchestrator.channel.protocol import (
    GENERATION_16,
    GENERATION_456,
    GENERATION_460,
    GENERATIONS,
    Answer,
    Generation,
    PolicyPacket,
    Request,
    Unit,
    encode,
    encode_answer,
    encode_connect,
    encode_policy,
)
from orchestrator.channel.recognition import MAX_PACKETS
from orchestrator.monitor.link import commands, reports
from orchestrator.monitor.process.exchange import IDLE_NS
from orchestrator.monitor.process.share import TURN_NS
from tests.channel.vectors import read_vectors
from tests.monitor.in_process_monitor import (
    LOWEST,
    MIDDLE,
    NOMINAL,
    TURBO,
    InProcessMonitor,
    receive,
)
from tests.properties import examples

ALL = list(GENERATIONS.values())
OLD = [GENERATION_16, GENERATION_456]
UP, DOWN, MAX, MIN, ENABLE, DISABLE = Unit


def _silence(monitor: InProcessMonitor) -> None:
    monitor.now_ns += IDLE_NS
    monitor.run_pass()


@pytest.mark.parametrize("generation", ALL, ids=lambda g: str(g.size_bytes))
def test_a_guest_of_any_generation_sets_its_frequency_with_the_first_packet(
    monitor: InProcessMonitor, generation: Generation
) -> None:
    guest = monitor.simple()
    assert monitor.generation() == (None, False)
    assert monitor.request(guest, encode_connect(generation)) == b""
    _silence(monitor)
    assert monitor.generation() == (generation.size_bytes, False)
    for unit, clock in ((MIN, LOWEST), (UP, MIDDLE), (MAX, TURBO), (DOWN, NOMINAL)):
        packet = encode(Request(0, unit), generation)
        answer = monitor.request(guest, packet)
        assert answer == (packet if generation.is_answered else b"")
        assert monitor.frequency() == clock
    counted = "acks" if generation.is_answered else "unanswered"
    assert monitor.counts() == {counted: 4}


@pytest.mark.parametrize("generation", OLD, ids=lambda g: str(g.size_bytes))
def test_an_old_guest_is_never_answered_but_its_refusals_are_counted(
    monitor: InProcessMonitor, generation: Generation
) -> None:
    guest = monitor.simple()
    monitor.request(guest, encode_connect(generation))
    _silence(monitor)
    bad = encode(Request(7, MIN), generation) + encode(Request(0, 99), generation)
    assert monitor.request(guest, bad) == b""
    monitor.apply(commands.CloseGroup(0))
    assert monitor.request(guest, encode(Request(0, MIN), generation)) == b""
    monitor.apply(commands.AnswerTake(0, is_taken=False))
    assert receive(guest) == b""
    assert monitor.counts() == {"unanswered": 3}
    assert monitor.reasons() == {"no-vcpu": 1, "unit": 1}


def test_a_policy_of_an_old_guest_reaches_main_and_is_not_answered(
    monitor: InProcessMonitor,
) -> None:
    guest = monitor.simple()
    policy = encode_policy(PolicyPacket(num_vcpu=1), GENERATION_456)
    monitor.request(guest, policy)
    _silence(monitor)
    (sent,) = monitor.policies()
    assert (sent.generation, sent.packet) == (456, policy.decode("latin-1"))
    monitor.answer_policy(sent)
    assert receive(guest) == b""
    assert monitor.counts() == {"unanswered": 1}


def test_a_32_bit_guest_is_answered_in_its_own_size(monitor: InProcessMonitor) -> None:
    guest = monitor.simple()
    monitor.request(guest, encode_connect(GENERATION_460))
    _silence(monitor)
    low = encode(Request(0, MIN), GENERATION_460)
    bad = encode(Request(9, MIN), GENERATION_460)
    refusal = encode_answer(bad, Answer.NACK, GENERATION_460)
    assert monitor.request(guest, low + bad + low) == low + refusal + low
    host = encode(Request(0, MIN, core_type=1), GENERATION_460)
    assert monitor.request(guest, host) == encode_answer(
        host, Answer.NACK, GENERATION_460
    )
    assert monitor.counts() == {"acks": 2, "nacks": 2}


def test_a_single_packet_recognized_by_a_silence_is_too_late_to_be_answered(
    monitor: InProcessMonitor,
) -> None:
    guest = monitor.simple()
    monitor.request(guest, encode(Request(0, MIN), GENERATION_460))
    assert monitor.frequency() == TURBO
    _silence(monitor)
    assert monitor.frequency() == LOWEST
    assert receive(guest) == b""
    assert monitor.counts() == {"late": 1}


def test_a_silence_ends_with_the_next_bytes(monitor: InProcessMonitor) -> None:
    guest = monitor.simple()
    packet = encode(Request(0, MIN))
    monitor.request(guest, packet[:100])
    monitor.now_ns += IDLE_NS - 1
    monitor.run_pass()
    assert monitor.request(guest, packet[100:]) == packet


def test_a_silence_counts_even_if_it_is_noticed_late(
    monitor: InProcessMonitor,
) -> None:
    guest = monitor.simple()
    monitor.request(guest, encode(Request(0, MIN), GENERATION_456))
    monitor.now_ns += IDLE_NS
    monitor.request(guest, encode(Request(0, UP), GENERATION_456))
    assert monitor.frequency() == MIDDLE
    assert monitor.counts() == {"unanswered": 2}


def test_the_rests_of_many_streams_are_processed_together(
    monitor: InProcessMonitor,
) -> None:
    for group in range(4):
        monitor.define_group(group)
        monitor.hand_over(group)
        monitor.define_domain(group, groups=(group,))
    guests = [monitor.adopt(group) for group in range(4)]
    for guest, generation in zip(guests, ALL, strict=True):
        guest.sendall(encode(Request(0, MIN), generation))
    monitor.run_pass()
    _silence(monitor)
    assert [monitor.frequency(group) for group in range(4)] == [LOWEST] * 4
    assert [monitor.generation(group)[0] for group in range(4)] == list(GENERATIONS)
    assert not monitor.exchange.rest_deadlines


def test_a_channel_that_closes_during_a_silence_leaves_no_deadline(
    monitor: InProcessMonitor,
) -> None:
    guest = monitor.simple()
    monitor.request(guest, b"\1" * 9)
    guest.close()
    monitor.run_pass()
    assert not monitor.exchange.rest_deadlines
    _silence(monitor)


def test_a_domain_that_boots_another_generation_is_recognized(
    monitor: InProcessMonitor,
) -> None:
    guest = monitor.simple()
    expected = {MIN: LOWEST, MAX: TURBO}
    for index, generation in enumerate((*ALL, *reversed(ALL), *ALL)):
        unit = (MIN, MAX)[index % 2]
        monitor.request(guest, encode_connect(generation))
        _silence(monitor)
        monitor.request(guest, encode(Request(0, unit), generation))
        assert monitor.generation() == (generation.size_bytes, False)
        assert monitor.frequency() == expected[unit]
    assert "errors" not in monitor.counts()


def test_a_recognized_generation_outlives_a_reconnection(
    monitor: InProcessMonitor,
) -> None:
    guest = monitor.simple()
    monitor.request(guest, encode(Request(0, MAX), GENERATION_460))
    _silence(monitor)
    again = monitor.adopt()
    packet = encode(Request(0, MIN), GENERATION_460)
    assert monitor.request(again, packet) == packet


def test_a_configured_generation_takes_precedence_over_detection(
    monitor: InProcessMonitor,
) -> None:
    guest = monitor.simple()
    packet = encode(Request(0, MIN))
    monitor.request(guest, packet)
    monitor.define_domain(generation=16)
    assert monitor.generation() == (16, True)
    # 29 records, of which the first is a request and the others are invalid.
    assert monitor.request(guest, encode(Request(0, MAX))) == b""
    assert (monitor.frequency(), monitor.counts()["errors"]) == (TURBO, 28)
    assert monitor.request(monitor.adopt(), packet) == b""
    monitor.define_domain()
    assert monitor.generation() == (16, False)
    guest = monitor.adopt()
    assert monitor.request(guest, packet) == packet
    assert monitor.generation() == (464, False)


def test_an_invalid_configured_generation_is_detected_instead(
    monitor: InProcessMonitor,
) -> None:
    monitor.define_group()
    monitor.hand_over()
    monitor.define_domain(generation=17)
    packet = encode(Request(0, MIN))
    assert monitor.request(monitor.adopt(), packet) == packet


pieces = st.lists(
    st.one_of(
        st.binary(min_size=1, max_size=1_000),
        st.sampled_from(list(read_vectors().values())),
    ),
    min_size=1,
    max_size=6,
)


@pytest.mark.fuzz
@given(sent=pieces, silences=st.lists(st.booleans(), min_size=6, max_size=6))
@settings(max_examples=examples(60), deadline=None)
def test_no_bytes_of_one_guest_affect_another_or_end_its_channel(
    sent: list[bytes], silences: list[bool]
) -> None:
    with TemporaryDirectory() as name, InProcessMonitor(Path(name)) as monitor:
        for group in (0, 1):
            monitor.define_group(group)
            monitor.hand_over(group)
            monitor.define_domain(group, groups=(group,) * 4)
        wild, good = monitor.adopt(0), monitor.adopt(1)
        low = encode(Request(0, MIN))
        for piece, is_silent in zip(sent, silences, strict=False):
            wild.sendall(piece)
            assert monitor.request(good, low) == low
            receive(wild)
            if is_silent:
                _silence(monitor)
        _silence(monitor)
        for sent_policy in monitor.policies():
            assert sent_policy.uuid == "0"
            monitor.answer_policy(sent_policy)
        receive(wild)
        assert monitor.request(wild, low) == low
        assert monitor.counts(1) == {"acks": len(sent)}
        ends = [r for r in monitor.reports if isinstance(r, reports.EndpointClosed)]
        assert ends == []


@pytest.mark.parametrize("generation", OLD, ids=lambda g: str(g.size_bytes))
def test_an_old_guest_that_never_reads_is_served_ten_thousand_times(
    monitor: InProcessMonitor, generation: Generation
) -> None:
    guest = monitor.simple()
    monitor.request(guest, encode_connect(generation))
    _silence(monitor)
    burst = b"".join(encode(Request(0, unit), generation) for unit in (MAX, MIN) * 50)
    for _ in range(100):
        guest.sendall(burst)
        monitor.run_until_idle()
    assert monitor.counts() == {"unanswered": 10_000}
    assert monitor.frequency() == LOWEST


@pytest.mark.parametrize("generation", OLD, ids=lambda g: str(g.size_bytes))
def test_after_a_flood_of_one_generation_another_is_recognized(
    monitor: InProcessMonitor, generation: Generation
) -> None:
    guest = monitor.simple()
    monitor.request(guest, encode_connect(generation))
    _silence(monitor)
    flood = encode(Request(0, MIN), generation) * MAX_PACKETS
    # each turn is long, so that less and less is read at once
    monitor.tick_ns = TURN_NS + 1
    for _ in range(10):
        guest.sendall(flood)
        for _ in range(MAX_PACKETS):
            _silence(monitor)  # which is longer than any pause
    monitor.tick_ns = 0
    for _ in range(3):
        packet = encode(Request(0, MAX))
        assert monitor.request(guest, packet) == packet
    assert monitor.generation() == (464, False)


def test_a_flood_of_short_packets_is_read_in_small_portions(
    monitor: InProcessMonitor,
) -> None:
    guest = monitor.simple()
    monitor.request(guest, encode_connect(GENERATION_16))
    _silence(monitor)
    guest.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 20)
    guest.sendall(encode(Request(0, MIN), GENERATION_16) * 4_000)
    monitor.run_pass()
    assert monitor.counts()["unanswered"] == MAX_PACKETS
    monitor.run_until_idle()
    assert monitor.counts()["unanswered"] == 4_000


def test_a_pause_of_ours_is_no_silence_of_the_guest(monitor: InProcessMonitor) -> None:
    guest = monitor.simple()
    packet = encode(Request(0, MIN))
    assert monitor.request(guest, packet) == packet
    monitor.tick_ns = 10 * TURN_NS  # the turn uses up its share of the time
    guest.sendall(packet + packet[:100])
    monitor.run_pass()
    monitor.tick_ns = 0
    assert monitor.exchange.paused
    guest.sendall(packet[100:])
    # The monitor continues late: what was sent meanwhile is not read yet.
    monitor.now_ns += IDLE_NS
    monitor.run_pass()
    assert not monitor.exchange.paused
    monitor.run_pass()
    assert receive(guest) == 2 * packet
    assert monitor.counts() == {"acks": 3}


def test_bytes_that_wait_to_be_read_are_no_silence(monitor: InProcessMonitor) -> None:
    guest = monitor.simple()
    guest.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 20)
    packet = encode(Request(0, MIN))
    assert monitor.request(guest, packet) == packet
    cut = encode(Request(0, 99))
    guest.sendall(cut[:100])
    monitor.run_pass()
    # More than what is read at once, so that a part of a packet is left.
    guest.sendall(cut[100:] + packet * 2 * MAX_PACKETS)
    monitor.run_pass()
    assert monitor.reasons() == {"unit": 1}
    # Another process had the CPU.
    monitor.now_ns += IDLE_NS
    monitor.run_until_idle()
    assert monitor.counts() == {"acks": 1 + 2 * MAX_PACKETS, "nacks": 1}
