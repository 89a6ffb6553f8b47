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
from orchestrator.channel.recognition import MOST_PACKETS
from orchestrator.monitor import messages
from orchestrator.monitor.exchange import IDLE_NS
from orchestrator.monitor.share import TURN_NS
from tests.channel.vectors import read_vectors
from tests.monitor.workbench import LOWEST, MIDDLE, NOMINAL, TURBO, Workbench, receive

ALL = list(GENERATIONS.values())
OLD = [GENERATION_16, GENERATION_456]
UP, DOWN, MAX, MIN, ENABLE, DISABLE = Unit


def _silence(bench: Workbench) -> None:
    bench.now_ns += IDLE_NS
    bench.turn()


@pytest.mark.parametrize("generation", ALL, ids=lambda g: str(g.size_bytes))
def test_a_guest_of_any_generation_sets_its_clock_from_the_first_packet(
    bench: Workbench, generation: Generation
) -> None:
    guest = bench.simple()
    assert bench.generation() == (None, False)
    assert bench.ask(guest, encode_connect(generation)) == b""
    _silence(bench)
    assert bench.generation() == (generation.size_bytes, False)
    for unit, clock in ((MIN, LOWEST), (UP, MIDDLE), (MAX, TURBO), (DOWN, NOMINAL)):
        packet = encode(Request(0, unit), generation)
        answer = bench.ask(guest, packet)
        assert answer == (packet if generation.is_answered else b"")
        assert bench.clock() == clock
    counted = "acks" if generation.is_answered else "unanswered"
    assert bench.counts() == {counted: 4}


@pytest.mark.parametrize("generation", OLD, ids=lambda g: str(g.size_bytes))
def test_an_old_guest_is_never_answered_but_its_refusals_are_counted(
    bench: Workbench, generation: Generation
) -> None:
    guest = bench.simple()
    bench.ask(guest, encode_connect(generation))
    _silence(bench)
    bad = encode(Request(7, MIN), generation) + encode(Request(0, 99), generation)
    assert bench.ask(guest, bad) == b""
    bench.tell(messages.TakeBack(0))
    assert bench.ask(guest, encode(Request(0, MIN), generation)) == b""
    bench.tell(messages.AnswerTake(0, is_taken=False))
    assert receive(guest) == b""
    assert bench.counts() == {"unanswered": 3}
    assert bench.reasons() == {"no-vcpu": 1, "unit": 1}


def test_a_policy_of_an_old_guest_reaches_main_and_is_not_answered(
    bench: Workbench,
) -> None:
    guest = bench.simple()
    policy = encode_policy(PolicyPacket(num_vcpu=1), GENERATION_456)
    bench.ask(guest, policy)
    _silence(bench)
    (sent,) = bench.policies()
    assert (sent.generation, sent.packet) == (456, policy.decode("latin-1"))
    bench.answer_policy(sent)
    assert receive(guest) == b""
    assert bench.counts() == {"unanswered": 1}


def test_a_32_bit_guest_is_answered_in_its_own_size(bench: Workbench) -> None:
    guest = bench.simple()
    bench.ask(guest, encode_connect(GENERATION_460))
    _silence(bench)
    low = encode(Request(0, MIN), GENERATION_460)
    bad = encode(Request(9, MIN), GENERATION_460)
    refusal = encode_answer(bad, Answer.NACK, GENERATION_460)
    assert bench.ask(guest, low + bad + low) == low + refusal + low
    host = encode(Request(0, MIN, core_type=1), GENERATION_460)
    assert bench.ask(guest, host) == encode_answer(host, Answer.NACK, GENERATION_460)
    assert bench.counts() == {"acks": 2, "nacks": 2}


def test_a_single_packet_that_the_silence_explains_is_too_late_to_be_answered(
    bench: Workbench,
) -> None:
    guest = bench.simple()
    bench.ask(guest, encode(Request(0, MIN), GENERATION_460))
    assert bench.clock() == TURBO
    _silence(bench)
    assert bench.clock() == LOWEST
    assert receive(guest) == b""
    assert bench.counts() == {"late": 1}


def test_a_silence_is_over_when_something_comes(bench: Workbench) -> None:
    guest = bench.simple()
    packet = encode(Request(0, MIN))
    bench.ask(guest, packet[:100])
    bench.now_ns += IDLE_NS - 1
    bench.turn()
    assert bench.ask(guest, packet[100:]) == packet


def test_a_silence_that_nobody_noticed_in_time_counts_too(bench: Workbench) -> None:
    guest = bench.simple()
    bench.ask(guest, encode(Request(0, MIN), GENERATION_456))
    bench.now_ns += IDLE_NS
    bench.ask(guest, encode(Request(0, UP), GENERATION_456))
    assert bench.clock() == MIDDLE
    assert bench.counts() == {"unanswered": 2}


def test_silences_of_many_channels_are_explained_together(bench: Workbench) -> None:
    for group in range(4):
        bench.define_group(group)
        bench.hand_over(group)
        bench.define_domain(group, groups=(group,))
    guests = [bench.adopt(group) for group in range(4)]
    for guest, generation in zip(guests, ALL, strict=True):
        guest.sendall(encode(Request(0, MIN), generation))
    bench.turn()
    _silence(bench)
    assert [bench.clock(group) for group in range(4)] == [LOWEST] * 4
    assert [bench.generation(group)[0] for group in range(4)] == list(GENERATIONS)
    assert not bench.exchange.silences


def test_a_channel_that_ends_in_a_silence_leaves_nothing(bench: Workbench) -> None:
    guest = bench.simple()
    bench.ask(guest, b"\1" * 9)
    guest.close()
    bench.turn()
    assert not bench.exchange.silences
    _silence(bench)


def test_a_domain_that_boots_something_else_is_understood(bench: Workbench) -> None:
    guest = bench.simple()
    clocks = {MIN: LOWEST, MAX: TURBO}
    for index, generation in enumerate((*ALL, *reversed(ALL), *ALL)):
        unit = (MIN, MAX)[index % 2]
        bench.ask(guest, encode_connect(generation))
        _silence(bench)
        bench.ask(guest, encode(Request(0, unit), generation))
        assert bench.generation() == (generation.size_bytes, False)
        assert bench.clock() == clocks[unit]
    assert "errors" not in bench.counts()


def test_what_was_found_out_outlives_a_reconnection(bench: Workbench) -> None:
    guest = bench.simple()
    bench.ask(guest, encode(Request(0, MAX), GENERATION_460))
    _silence(bench)
    again = bench.adopt()
    packet = encode(Request(0, MIN), GENERATION_460)
    assert bench.ask(again, packet) == packet


def test_an_operator_s_word_stands_above_what_arrives(bench: Workbench) -> None:
    guest = bench.simple()
    packet = encode(Request(0, MIN))
    bench.ask(guest, packet)
    bench.define_domain(generation=16)
    assert bench.generation() == (16, True)
    # 29 records, of which the first one is a request and the others are nothing.
    assert bench.ask(guest, encode(Request(0, MAX))) == b""
    assert (bench.clock(), bench.counts()["errors"]) == (TURBO, 28)
    assert bench.ask(bench.adopt(), packet) == b""
    bench.define_domain()
    assert bench.generation() == (16, False)
    guest = bench.adopt()
    assert bench.ask(guest, packet) == packet
    assert bench.generation() == (464, False)


def test_a_generation_that_is_none_is_found_out(bench: Workbench) -> None:
    bench.define_group()
    bench.hand_over()
    bench.define_domain(generation=17)
    packet = encode(Request(0, MIN))
    assert bench.ask(bench.adopt(), packet) == packet


pieces = st.lists(
    st.one_of(
        st.binary(min_size=1, max_size=1_000),
        st.sampled_from(list(read_vectors().values())),
    ),
    min_size=1,
    max_size=6,
)


@given(sent=pieces, silences=st.lists(st.booleans(), min_size=6, max_size=6))
@settings(max_examples=60, deadline=None)
def test_no_bytes_of_one_guest_reach_another_or_end_its_channel(
    sent: list[bytes], silences: list[bool]
) -> None:
    with TemporaryDirectory() as name, Workbench(Path(name)) as bench:
        for group in (0, 1):
            bench.define_group(group)
            bench.hand_over(group)
            bench.define_domain(group, groups=(group,) * 4)
        wild, good = bench.adopt(0), bench.adopt(1)
        low = encode(Request(0, MIN))
        for piece, is_silent in zip(sent, silences, strict=False):
            wild.sendall(piece)
            assert bench.ask(good, low) == low
            receive(wild)
            if is_silent:
                _silence(bench)
        _silence(bench)
        for sent_policy in bench.policies():
            assert sent_policy.domain == 0
            bench.answer_policy(sent_policy)
        receive(wild)
        assert bench.ask(wild, low) == low
        assert bench.counts(1) == {"acks": len(sent)}
        ends = [r for r in bench.reports if isinstance(r, messages.EndpointClosed)]
        assert ends == []


@pytest.mark.parametrize("generation", OLD, ids=lambda g: str(g.size_bytes))
def test_an_old_guest_that_never_reads_is_served_ten_thousand_times(
    bench: Workbench, generation: Generation
) -> None:
    guest = bench.simple()
    bench.ask(guest, encode_connect(generation))
    _silence(bench)
    burst = b"".join(encode(Request(0, unit), generation) for unit in (MAX, MIN) * 50)
    for _ in range(100):
        guest.sendall(burst)
        bench.exhaust()
    assert bench.counts() == {"unanswered": 10_000}
    assert bench.clock() == LOWEST


@pytest.mark.parametrize("generation", OLD, ids=lambda g: str(g.size_bytes))
def test_after_a_flood_of_one_generation_another_is_recognised(
    bench: Workbench, generation: Generation
) -> None:
    guest = bench.simple()
    bench.ask(guest, encode_connect(generation))
    _silence(bench)
    flood = encode(Request(0, MIN), generation) * MOST_PACKETS
    bench.tick_ns = TURN_NS + 1  # each turn is long: ever less is read at once
    for _ in range(10):
        guest.sendall(flood)
        for _ in range(MOST_PACKETS):
            _silence(bench)  # which is longer than any rest
    bench.tick_ns = 0
    for _ in range(3):
        packet = encode(Request(0, MAX))
        assert bench.ask(guest, packet) == packet
    assert bench.generation() == (464, False)


def test_a_flood_of_short_packets_is_read_in_small_portions(bench: Workbench) -> None:
    guest = bench.simple()
    bench.ask(guest, encode_connect(GENERATION_16))
    _silence(bench)
    guest.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 20)
    guest.sendall(encode(Request(0, MIN), GENERATION_16) * 4_000)
    bench.turn()
    assert bench.counts()["unanswered"] == MOST_PACKETS
    bench.exhaust()
    assert bench.counts()["unanswered"] == 4_000
