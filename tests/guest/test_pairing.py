# SPDX-License-Identifier: Apache-2.0
"""Pairing of answers with requests in a stream of bytes."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING, Any

from hypothesis import given
from hypothesis import strategies as st

from orchestrator.channel.protocol import (
    Answer,
    Capabilities,
    Command,
    Frequencies,
    Unit,
    decode,
    encode_answer,
    encode_capabilities,
    encode_frequencies,
)
from orchestrator.guest.calls import (
    Call,
    change_frequency,
    query_all_capabilities,
    query_all_frequencies,
    query_frequency,
)
from orchestrator.guest.pairing import MAX_PENDING, Pairing

if TYPE_CHECKING:
    import random

SEED = b"\xa5\x01\x02"
CALLS: list[Call[Any]] = [
    *(change_frequency(vcpu, unit) for vcpu in (0, 7) for unit in Unit),
    query_all_frequencies(),
    query_frequency(3, b"a-name"),
    query_all_capabilities(b"another"),
]


def answer(packet: bytes, *, is_refusal: bool = False) -> bytes:
    """Answer as a host that copies unknown bytes from the request."""
    request = decode(packet)
    name = packet[16:48]
    if request.command in (Command.QUERY_FREQ, Command.QUERY_FREQ_LIST):
        number = Answer.NACK if is_refusal else Answer.FREQ_LIST
        reply = Frequencies(request.vcpu, 0, number, name, (1000,) * 8, 4)
        return encode_frequencies(reply)
    if request.command in (Command.QUERY_CAPS, Command.QUERY_CAPS_LIST):
        number = Answer.NACK if is_refusal else Answer.CAPS_LIST
        caps = Capabilities(request.vcpu, 0, number, name, (1,) * 8, (0,) * 8, 4)
        return encode_capabilities(caps)
    return encode_answer(packet, Answer.NACK if is_refusal else Answer.ACK)


def split(stream: bytes, cuts: list[int]) -> list[bytes]:
    edges = sorted({0, len(stream), *(cut % (len(stream) + 1) for cut in cuts)})
    return [stream[a:b] for a, b in pairwise(edges)]


def test_an_answer_is_paired_with_its_request() -> None:
    pairing = Pairing(SEED)
    number, packet = pairing.register(change_frequency(3, Unit.SCALE_MIN))
    assert pairing.receive(packet) == [(number, packet)]


def test_two_equal_requests_have_different_packets() -> None:
    pairing = Pairing(SEED)
    packets = [
        pairing.register(change_frequency(0, Unit.SCALE_UP))[1] for _ in range(2)
    ]
    assert packets[0] != packets[1]
    assert packets[0][:457] == packets[1][:457]


def test_the_tag_does_not_change_the_name_in_a_query() -> None:
    packet = Pairing(SEED).register(query_frequency(1, b"x" * 24))[1]
    assert packet[16:48].split(b"\0")[0] == b"x" * 24


def test_an_unexpected_answer_is_dropped() -> None:
    pairing = Pairing(SEED)
    late, first = pairing.register(change_frequency(0, Unit.SCALE_UP))
    pairing.cancel(late)
    number, second = pairing.register(change_frequency(0, Unit.SCALE_UP))
    assert pairing.receive(first + second) == [(number, second)]


def test_an_answer_to_an_earlier_program_is_dropped() -> None:
    theirs = Pairing(b"\xa5\x09\x09").register(query_all_frequencies())[1]
    pairing = Pairing(SEED)
    number, packet = pairing.register(query_all_frequencies())
    assert pairing.receive(answer(theirs)) == []
    assert [n for n, _ in pairing.receive(answer(packet))] == [number]


def test_a_new_host_does_not_answer_earlier_requests() -> None:
    pairing = Pairing(SEED)
    packet = pairing.register(change_frequency(0, Unit.SCALE_UP))[1]
    pairing.reset()
    assert pairing.receive(packet) == []


def test_unanswered_requests_expire() -> None:
    pairing = Pairing(SEED)
    first = pairing.register(change_frequency(0, Unit.SCALE_UP))[1]
    rest = [
        pairing.register(change_frequency(0, Unit.SCALE_UP)) for _ in range(MAX_PENDING)
    ]
    assert pairing.receive(first + rest[-1][1]) == [rest[-1]]


@given(
    requests=st.lists(
        st.tuples(
            st.sampled_from(CALLS), st.sampled_from(["yes", "no", "late", "none"])
        )
    ),
    cuts=st.lists(st.integers(0, 1 << 16)),
    junk=st.lists(st.binary(max_size=600)),
    seed=st.randoms(use_true_random=False),
)
def test_each_answer_finds_its_request_however_the_stream_is_cut(
    requests: list[tuple[Call[Any], str]],
    cuts: list[int],
    junk: list[bytes],
    seed: random.Random,
) -> None:
    pairing = Pairing(SEED)
    stream, expected = b"", []
    for call, fate in requests:
        number, packet = pairing.register(call)
        reply = answer(packet, is_refusal=fate == "no")
        if fate == "late":
            pairing.cancel(number)
        if fate != "none":
            # Answers to an earlier program, or truncated.
            stream += seed.choice(junk).replace(SEED, b"") if junk else b""
            stream += reply
        if fate in ("yes", "no"):
            expected.append((number, reply))
    found = [pair for piece in split(stream, cuts) for pair in pairing.receive(piece)]
    assert found == expected


@given(data=st.lists(st.binary(max_size=2000)))
def test_any_bytes_are_accepted(data: list[bytes]) -> None:
    pairing = Pairing(SEED)
    for piece in data:
        pairing.receive(piece)
    number, packet = pairing.register(change_frequency(0, Unit.SCALE_MAX))
    assert pairing.receive(packet) == [(number, packet)]
