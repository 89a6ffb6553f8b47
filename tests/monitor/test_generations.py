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
    monitor.turn()


@pytest.mark.parametrize("generation", ALL, ids=lambda g: str(g.size_bytes))
def test_a_guest_of_any_generation_sets_its_clock_from_the_first_packet(
    monitor: InProcessMonitor, generation: Generation
) -> None:
    guest = monitor.simple()
    assert monitor.generation() == (None, False)
    assert monitor.ask(guest, encode_connect(generation)) == b""
    _silence(monitor)
    assert monitor.generation() == (generation.size_bytes, False)
    for unit, clock in ((MIN, LOWEST), (UP, MIDDLE), (MAX, TURBO), (DOWN, NOMINAL)):
        packet = encode(Request(0, unit), generation)
        answer = monitor.ask(guest, packet)
        assert answer == (packet if generation.is_answered else b"")
        assert monitor.clock() == clock
    counted = "acks" if generation.is_answered else "unanswered"
    assert monitor.counts() == {counted: 4}


@pytest.mark.parametrize("generation", OLD, ids=lambda g: str(g.size_bytes))
def test_an_old_guest_is_never_answered_but_its_refusals_are_counted(
    monitor: InProcessMonitor, generation: Generation
) -> None:
    guest = monitor.simple()
    monitor.ask(guest, encode_connect(generation))
    _silence(monitor)
    bad = encode(Request(7, MIN), generation) + encode(Request(0, 99), generation)
    assert monitor.ask(guest, bad) == b""
    monitor.tell(commands.TakeBack(0))
    assert monitor.ask(guest, encode(Request(0, MIN), generation)) == b""
    monitor.tell(commands.AnswerTake(0, is_taken=False))
    assert receive(guest) == b""
    assert monitor.counts() == {"unanswered": 3}
    assert monitor.reasons() == {"no-vcpu": 1, "unit": 1}


def test_a_policy_of_an_old_guest_reaches_main_and_is_not_answered(
    monitor: InProcessMonitor,
) -> None:
    guest = monitor.simple()
    policy = encode_policy(PolicyPacket(num_vcpu=1), GENERATION_456)
    monitor.ask(guest, policy)
    _silence(monitor)
    (sent,) = monitor.policies()
    assert (sent.generation, sent.packet) == (456, policy.decode("latin-1"))
    monitor.answer_policy(sent)
    assert receive(guest) == b""
    assert monitor.counts() == {"unanswered": 1}


def test_a_32_bit_guest_is_answered_in_its_own_size(monitor: InProcessMonitor) -> None:
    guest = monitor.simple()
    monitor.ask(guest, encode_connect(GENERATION_460))
    _silence(monitor)
    low = encode(Request(0, MIN), GENERATION_460)
    bad = encode(Request(9, MIN), GENERATION_460)
    refusal = encode_answer(bad, Answer.NACK, GENERATION_460)
    assert monitor.ask(guest, low + bad + low) == low + refusal + low
    host = encode(Request(0, MIN, core_type=1), GENERATION_460)
    assert monitor.ask(guest, host) == encode_answer(host, Answer.NACK, GENERATION_460)
    assert monitor.counts() == {"acks": 2, "nacks": 2}


def test_a_single_packet_that_the_silence_explains_is_too_late_to_be_answered(
    monitor: InProcessMonitor,
) -> None:
    guest = monitor.simple()
    monitor.ask(guest, encode(Request(0, MIN), GENERATION_460))
    assert monitor.clock() == TURBO
    _silence(monitor)
    assert monitor.clock() == LOWEST
    assert receive(guest) == b""
    assert monitor.counts() == {"late": 1}


def test_a_silence_is_over_when_something_comes(monitor: InProcessMonitor) -> None:
    guest = monitor.simple()
    packet = encode(Request(0, MIN))
    monitor.ask(guest, packet[:100])
    monitor.now_ns += IDLE_NS - 1
    monitor.turn()
    assert monitor.ask(guest, packet[100:]) == packet


def test_a_silence_that_nobody_noticed_in_time_counts_too(
    monitor: InProcessMonitor,
) -> None:
    guest = monitor.simple()
    monitor.ask(guest, encode(Request(0, MIN), GENERATION_456))
    monitor.now_ns += IDLE_NS
    monitor.ask(guest, encode(Request(0, UP), GENERATION_456))
    assert monitor.clock() == MIDDLE
    assert monitor.counts() == {"unanswered": 2}


def test_silences_of_many_channels_are_explained_together(
    monitor: InProcessMonitor,
) -> None:
    for group in range(4):
        monitor.define_group(group)
        monitor.hand_over(group)
        monitor.define_domain(group, groups=(group,))
    guests = [monitor.adopt(group) for group in range(4)]
    for guest, generation in zip(guests, ALL, strict=True):
        guest.sendall(encode(Request(0, MIN), generation))
    monitor.turn()
    _silence(monitor)
    assert [monitor.clock(group) for group in range(4)] == [LOWEST] * 4
    assert [monitor.generation(group)[0] for group in range(4)] == list(GENERATIONS)
    assert not monitor.exchange.silences


def test_a_channel_that_ends_in_a_silence_leaves_nothing(
    monitor: InProcessMonitor,
) -> None:
    guest = monitor.simple()
    monitor.ask(guest, b"\1" * 9)
    guest.close()
    monitor.turn()
    assert not monitor.exchange.silences
    _silence(monitor)


def test_a_domain_that_boots_something_else_is_understood(
    monitor: InProcessMonitor,
) -> None:
    guest = monitor.simple()
    clocks = {MIN: LOWEST, MAX: TURBO}
    for index, generation in enumerate((*ALL, *reversed(ALL), *ALL)):
        unit = (MIN, MAX)[index % 2]
        monitor.ask(guest, encode_connect(generation))
        _silence(monitor)
        monitor.ask(guest, encode(Request(0, unit), generation))
        assert monitor.generation() == (generation.size_bytes, False)
        assert monitor.clock() == clocks[unit]
    assert "errors" not in monitor.counts()


def test_what_was_found_out_outlives_a_reconnection(monitor: InProcessMonitor) -> None:
    guest = monitor.simple()
    monitor.ask(guest, encode(Request(0, MAX), GENERATION_460))
    _silence(monitor)
    again = monitor.adopt()
    packet = encode(Request(0, MIN), GENERATION_460)
    assert monitor.ask(again, packet) == packet


def test_an_operator_s_word_stands_above_what_arrives(
    monitor: InProcessMonitor,
) -> None:
    guest = monitor.simple()
    packet = encode(Request(0, MIN))
    monitor.ask(guest, packet)
    monitor.define_domain(generation=16)
    assert monitor.generation() == (16, True)
    # 29 records, of which the first one is a request and the others are nothing.
    assert monitor.ask(guest, encode(Request(0, MAX))) == b""
    assert (monitor.clock(), monitor.counts()["errors"]) == (TURBO, 28)
    assert monitor.ask(monitor.adopt(), packet) == b""
    monitor.define_domain()
    assert monitor.generation() == (16, False)
    guest = monitor.adopt()
    assert monitor.ask(guest, packet) == packet
    assert monitor.generation() == (464, False)


def test_a_generation_that_is_none_is_found_out(monitor: InProcessMonitor) -> None:
    monitor.define_group()
    monitor.hand_over()
    monitor.define_domain(generation=17)
    packet = encode(Request(0, MIN))
    assert monitor.ask(monitor.adopt(), packet) == packet


pieces = st.lists(
    st.one_of(
        st.binary(min_size=1, max_size=1_000),
        st.sampled_from(list(read_vectors().values())),
    ),
    min_size=1,
    max_size=6,
)


@given(sent=pieces, silences=st.lists(st.booleans(), min_size=6, max_size=6))
@settings(max_examples=examples(60), deadline=None)
def test_no_bytes_of_one_guest_reach_another_or_end_its_channel(
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
            assert monitor.ask(good, low) == low
            receive(wild)
            if is_silent:
                _silence(monitor)
        _silence(monitor)
        for sent_policy in monitor.policies():
            assert sent_policy.uuid == "0"
            monitor.answer_policy(sent_policy)
        receive(wild)
        assert monitor.ask(wild, low) == low
        assert monitor.counts(1) == {"acks": len(sent)}
        ends = [r for r in monitor.reports if isinstance(r, reports.EndpointClosed)]
        assert ends == []


@pytest.mark.parametrize("generation", OLD, ids=lambda g: str(g.size_bytes))
def test_an_old_guest_that_never_reads_is_served_ten_thousand_times(
    monitor: InProcessMonitor, generation: Generation
) -> None:
    guest = monitor.simple()
    monitor.ask(guest, encode_connect(generation))
    _silence(monitor)
    burst = b"".join(encode(Request(0, unit), generation) for unit in (MAX, MIN) * 50)
    for _ in range(100):
        guest.sendall(burst)
        monitor.exhaust()
    assert monitor.counts() == {"unanswered": 10_000}
    assert monitor.clock() == LOWEST


@pytest.mark.parametrize("generation", OLD, ids=lambda g: str(g.size_bytes))
def test_after_a_flood_of_one_generation_another_is_recognised(
    monitor: InProcessMonitor, generation: Generation
) -> None:
    guest = monitor.simple()
    monitor.ask(guest, encode_connect(generation))
    _silence(monitor)
    flood = encode(Request(0, MIN), generation) * MAX_PACKETS
    monitor.tick_ns = TURN_NS + 1  # each turn is long: ever less is read at once
    for _ in range(10):
        guest.sendall(flood)
        for _ in range(MAX_PACKETS):
            _silence(monitor)  # which is longer than any rest
    monitor.tick_ns = 0
    for _ in range(3):
        packet = encode(Request(0, MAX))
        assert monitor.ask(guest, packet) == packet
    assert monitor.generation() == (464, False)


def test_a_flood_of_short_packets_is_read_in_small_portions(
    monitor: InProcessMonitor,
) -> None:
    guest = monitor.simple()
    monitor.ask(guest, encode_connect(GENERATION_16))
    _silence(monitor)
    guest.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 20)
    guest.sendall(encode(Request(0, MIN), GENERATION_16) * 4_000)
    monitor.turn()
    assert monitor.counts()["unanswered"] == MAX_PACKETS
    monitor.exhaust()
    assert monitor.counts()["unanswered"] == 4_000
