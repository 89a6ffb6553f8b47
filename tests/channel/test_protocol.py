from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.channel.protocol import (
    GENERATION_464,
    Answer,
    Command,
    Request,
    Unit,
    decode,
    decode_all,
    encode,
    encode_answer,
    encode_connect,
)
from orchestrator.errors import PacketError

SIZE = GENERATION_464.size_bytes
VECTORS = Path(__file__).parents[1] / "data" / "packet-vectors.txt"
"""Whole packets as compiled DPDK programs wrote them: name, length, bytes."""

requests = st.builds(
    Request,
    vcpu=st.integers(0, 2**64 - 1),
    unit=st.integers(0, 2**32 - 1),
    command=st.integers(0, 2**32 - 1),
    core_type=st.integers(0, 255),
)


def _vectors() -> dict[str, bytes]:
    lines = (line.split() for line in VECTORS.read_text().splitlines() if line)
    return {name: bytes.fromhex(text) for name, _, text in lines}


def test_every_vector_has_the_length_that_it_names() -> None:
    for line in VECTORS.read_text().splitlines():
        name, length, text = line.split()
        assert len(bytes.fromhex(text)) == int(length), name


@pytest.mark.parametrize("generation", ["G3", "G4"])
@pytest.mark.parametrize("unit", Unit)
def test_dpdk_s_power_requests_are_understood_and_written_the_same(
    generation: str, unit: Unit
) -> None:
    packet = _vectors()[f"{generation}.CPU_POWER_{unit.name}_lcore3"]
    assert decode(packet) == Request(3, unit, Command.CPU_POWER, 0)
    assert encode(Request(3, unit)) == packet


def test_dpdk_s_connect_is_understood_and_written_the_same() -> None:
    packet = _vectors()["G4.CONNECT_zeroed"]
    assert decode(packet).command == Command.CONNECT
    assert encode_connect() == packet


def test_a_request_for_a_host_cpu_shows_as_one() -> None:
    packet = _vectors()["G4.CPU_POWER_SCALE_MAX_physical_core5"]
    assert decode(packet) == Request(5, Unit.SCALE_MAX, Command.CPU_POWER, 1)


def test_an_ack_of_a_power_request_is_the_request() -> None:
    packet = _vectors()["G4.CPU_POWER_SCALE_MAX_lcore3"]
    answer = encode_answer(packet, Answer.ACK)
    assert answer == packet == _vectors()["G4.reply_ACK_to_SCALE_MAX_lcore3"]


def test_a_nack_differs_from_the_request_in_one_number() -> None:
    vectors = _vectors()
    packet = vectors["G4.CPU_POWER_ENABLE_TURBO_lcore3"]
    refusal = vectors["G4.reply_NACK_to_ENABLE_TURBO_lcore3"]
    assert encode_answer(packet, Answer.NACK) == refusal


@given(requests)
def test_what_was_encoded_decodes_to_itself(request: Request) -> None:
    packet = encode(request)
    assert len(packet) == SIZE
    assert decode(packet) == request


@given(st.binary(max_size=2 * SIZE))
def test_no_bytes_raise_anything_but_packet_error(data: bytes) -> None:
    if len(data) == SIZE:
        assert decode(data).vcpu >= 0
    else:
        with pytest.raises(PacketError):
            decode(data)


@given(st.binary(min_size=SIZE, max_size=SIZE))
def test_any_packet_is_echoed_but_for_the_answer(packet: bytes) -> None:
    answer = encode_answer(packet, Answer.NACK)
    assert (answer[:12], answer[16:]) == (packet[:12], packet[16:])
    assert answer[12:16] == b"\2\0\0\0"


@given(st.lists(requests, max_size=5), st.binary(max_size=SIZE - 1))
def test_a_stream_gives_its_whole_packets(sent: list[Request], rest: bytes) -> None:
    stream = b"".join(map(encode, sent)) + rest
    assert list(decode_all(stream)) == sent
