# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.channel.protocol import (
    GENERATION_16,
    GENERATION_456,
    GENERATION_460,
    GENERATION_464,
    GENERATIONS,
    Command,
    Generation,
    Request,
    encode,
)
from orchestrator.channel.recognition import (
    MAX_PACKETS,
    MAX_UNKNOWN_BYTES,
    Cut,
    Stream,
    recognize,
)
from tests.channel.vectors import read_vectors

ALL = list(GENERATIONS.values())
KNOWN = [None, *ALL]
OF_NAME = {
    "G1": GENERATION_16,
    "G2": GENERATION_456,
    "G3": GENERATION_464,
    "G4": GENERATION_464,
}

generations = st.sampled_from(ALL)
known = st.sampled_from(KNOWN)
requests = st.builds(
    Request,
    vcpu=st.integers(0, 63),
    unit=st.integers(1, 6),
    command=st.just(int(Command.CPU_POWER)),
    core_type=st.just(0),
)


def _packets() -> list[tuple[Generation, str, bytes]]:
    """Every vector that a guest sends; those of 464 bytes also cut to 460."""
    found = []
    for name, packet in read_vectors().items():
        generation = OF_NAME[name.partition(".")[0]]
        if "reply" in name:
            continue
        found.append((generation, name, packet))
        if generation is GENERATION_464:
            found.append((GENERATION_460, name, packet[:460]))
    return found


PACKETS = _packets()
vectors = st.sampled_from(PACKETS)


def _receive(stream: Stream, piece: bytes) -> bytes:
    """Return the packets in a piece that is followed by a silence."""
    return stream.feed(piece).packets + stream.settle().packets


def _pieces(data: bytes, cuts: list[int]) -> list[bytes]:
    edges = sorted({0, len(data), *(cut % len(data) for cut in cuts)})
    return [data[a:b] for a, b in pairwise(edges)]


# A new channel


@pytest.mark.parametrize(
    ("generation", "name", "packet"), PACKETS, ids=lambda p: str(p)[:40]
)
def test_every_packet_of_dpdk_is_recognized_alone(
    generation: Generation, name: str, packet: bytes
) -> None:
    stream = Stream()
    assert _receive(stream, packet) == packet, name
    assert stream.generation is generation


@given(vectors)
def test_only_464_bytes_are_recognized_without_a_silence(
    vector: tuple[Generation, str, bytes],
) -> None:
    generation, _, packet = vector
    is_known = recognize(packet) is generation
    assert is_known == (generation is GENERATION_464)


@pytest.mark.parametrize("generation", ALL)
@given(data=st.data())
def test_a_connect_is_recognized_whatever_its_other_fields_are(
    generation: Generation, data: st.DataObject
) -> None:
    size = generation.size_bytes
    garbage = bytearray(data.draw(st.binary(min_size=size, max_size=size)))
    garbage[12:16] = b"\2\0\0\0"
    stream = Stream()
    assert _receive(stream, bytes(garbage)) == garbage
    assert stream.generation is generation


@given(st.lists(requests, min_size=1, max_size=6), st.lists(st.integers(0), max_size=8))
def test_464_bytes_are_recognized_however_they_are_cut(
    sent: list[Request], cuts: list[int]
) -> None:
    data = b"".join(map(encode, sent))
    stream = Stream()
    received = b"".join(stream.feed(piece).packets for piece in _pieces(data, cuts))
    assert received == data


# Changes of the generation


@pytest.mark.parametrize("before", KNOWN)
@given(first=vectors, data=st.data())
def test_another_guest_costs_one_packet_at_most(
    before: Generation | None, first: tuple[Generation, str, bytes], data: st.DataObject
) -> None:
    generation, _, packet = first
    stream = Stream(before)
    received = _receive(stream, packet)
    assert received == packet or not packet.startswith(received)
    assert stream.generation is generation
    _, _, second = data.draw(vectors.filter(lambda v: v[0] is generation))
    assert _receive(stream, second) == second


@pytest.mark.parametrize("before", KNOWN)
@given(packet=vectors.filter(lambda vector: vector[0] is GENERATION_464))
def test_a_guest_that_waits_for_an_answer_is_recognized_at_once(
    before: Generation | None, packet: tuple[Generation, str, bytes]
) -> None:
    stream = Stream(before)
    assert stream.feed(packet[2]).packets == packet[2]
    assert stream.generation is GENERATION_464


@given(known, generations, st.lists(requests, min_size=2, max_size=8))
def test_two_requests_in_one_piece_are_recognized_at_once(
    before: Generation | None, generation: Generation, sent: list[Request]
) -> None:
    data = b"".join(encode(request, generation) for request in sent)
    stream = Stream(before)
    assert stream.feed(data).packets == data
    assert stream.generation is generation


@pytest.mark.fuzz
@given(known, st.lists(vectors, max_size=12))
def test_any_mix_is_recognized_if_there_are_silences(
    before: Generation | None, mixed: list[tuple[Generation, str, bytes]]
) -> None:
    stream = Stream(before)
    for generation, _, packet in mixed:
        assert _receive(stream, packet) == packet
        assert stream.generation is generation


# Invalid bytes


@pytest.mark.fuzz
@given(
    known,
    st.lists(st.tuples(st.binary(max_size=1_500), st.booleans()), max_size=8),
    vectors,
)
def test_invalid_bytes_do_not_affect_later_packets(
    before: Generation | None,
    junk: list[tuple[bytes, bool]],
    following: tuple[Generation, str, bytes],
) -> None:
    stream = Stream(before)
    for piece, is_silent in junk:
        cut = stream.feed(piece)
        if stream.generation is not None:
            assert not len(cut.packets) % stream.generation.size_bytes
        assert len(stream.rest) <= MAX_UNKNOWN_BYTES
        if is_silent:
            stream.settle()
    stream.settle()
    generation, _, packet = following
    assert _receive(stream, packet) == packet
    assert stream.generation is generation


@pytest.mark.fuzz
@given(
    generations,
    st.lists(vectors, min_size=1, max_size=6),
    st.lists(st.integers(0), max_size=8),
    vectors,
)
def test_cuts_do_not_affect_later_packets(
    before: Generation,
    mixed: list[tuple[Generation, str, bytes]],
    cuts: list[int],
    following: tuple[Generation, str, bytes],
) -> None:
    stream = Stream(before)
    for piece in _pieces(b"".join(vector[2] for vector in mixed), cuts):
        stream.feed(piece)
    stream.settle()
    generation, _, packet = following
    assert _receive(stream, packet) == packet
    assert stream.generation is generation


def test_unrecognized_bytes_are_dropped_and_reported() -> None:
    stream = Stream()
    assert stream.feed(b"\xff" * MAX_UNKNOWN_BYTES) == Cut(b"")
    assert stream.feed(b"\xff") == Cut(b"", is_lost=True)
    assert stream.feed(b"\xff" * 7) == Cut(b"")
    assert stream.settle() == Cut(b"", is_lost=True)
    assert stream.settle() == Cut(b"")
    assert stream.generation is None


def test_an_unknown_command_does_not_change_a_known_generation() -> None:
    stream = Stream(GENERATION_464)
    packet = encode(Request(0, 1, 5))
    assert stream.feed(packet).packets == packet


def test_of_thousands_of_short_packets_the_newest_are_taken() -> None:
    stream = Stream()
    sent = [encode(Request(0, 1 + n % 4), GENERATION_16) for n in range(4_000)]
    cut = stream.feed(b"".join(sent))
    assert cut == Cut(b"".join(sent[-MAX_PACKETS:]), is_lost=True)
    assert stream.generation is GENERATION_16


# A configured generation


@given(generations, st.lists(st.binary(max_size=1_000), max_size=6))
def test_a_configured_generation_is_never_changed(
    generation: Generation, pieces: list[bytes]
) -> None:
    stream = Stream()
    stream.configure(generation)
    for piece in pieces:
        stream.feed(piece)
        assert len(stream.rest) < generation.size_bytes
    stream.settle()
    assert (stream.generation, stream.is_configured) == (generation, True)
    packet = encode(Request(1, 1, Command.CPU_POWER), generation)
    assert stream.feed(packet).packets == packet


def test_a_generation_that_is_no_longer_configured_is_a_first_guess() -> None:
    stream = Stream()
    stream.configure(GENERATION_16)
    stream.configure(None)
    assert (stream.generation, stream.is_configured) == (GENERATION_16, False)
    packet = encode(Request(1, 1), GENERATION_456)
    assert _receive(stream, packet) == packet
    assert stream.generation is GENERATION_456
