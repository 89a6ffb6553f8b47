# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.channel.protocol import (
    GENERATION_464,
    GENERATIONS,
    Answer,
    Command,
    Generation,
    Request,
    Unit,
    decode,
    decode_all,
    encode,
    encode_answer,
    encode_connect,
)
from orchestrator.errors import PacketError
from tests.channel.vectors import FILE, read_vectors

SIZE = GENERATION_464.size_bytes
BY_NAME = {"G1": 16, "G2": 456, "G3": 464, "G4": 464}

requests = st.builds(
    Request,
    vcpu=st.integers(0, 2**64 - 1),
    unit=st.integers(0, 2**32 - 1),
    command=st.integers(0, 2**32 - 1),
    core_type=st.integers(0, 255),
)


def test_every_vector_has_its_stated_length() -> None:
    for line in FILE.read_text().splitlines():
        name, length, text = line.split()
        assert len(bytes.fromhex(text)) == int(length), name


@pytest.mark.parametrize("name", BY_NAME)
@pytest.mark.parametrize("unit", Unit)
def test_dpdk_s_power_requests_are_decoded_and_encoded(name: str, unit: Unit) -> None:
    if name == "G1" and unit >= Unit.ENABLE_TURBO:
        return  # not in this generation
    generation = GENERATIONS[BY_NAME[name]]
    packet = read_vectors()[f"{name}.CPU_POWER_{unit.name}_lcore3"]
    assert decode(packet, generation) == Request(3, unit, Command.CPU_POWER, 0)
    assert encode(Request(3, unit), generation) == packet


@pytest.mark.parametrize("name", BY_NAME)
def test_dpdk_s_connect_is_decoded_and_encoded(name: str) -> None:
    generation = GENERATIONS[BY_NAME[name]]
    packet = read_vectors()[f"{name}.CONNECT_zeroed"]
    assert decode(packet, generation).command == Command.CONNECT
    assert encode_connect(generation) == packet


@pytest.mark.parametrize("name", ["G3", "G4"])
def test_a_packet_of_a_32_bit_guest_only_lacks_the_end(name: str) -> None:
    for vector, packet in read_vectors().items():
        if vector.startswith(name) and len(packet) == SIZE:
            assert decode(packet[:460], GENERATIONS[460]) == decode(packet)


def test_a_request_for_a_host_cpu_is_decoded_as_one() -> None:
    packet = read_vectors()["G4.CPU_POWER_SCALE_MAX_physical_core5"]
    assert decode(packet) == Request(5, Unit.SCALE_MAX, Command.CPU_POWER, 1)


def test_an_ack_of_a_power_request_is_the_request() -> None:
    packet = read_vectors()["G4.CPU_POWER_SCALE_MAX_lcore3"]
    answer = encode_answer(packet, Answer.ACK)
    assert answer == packet == read_vectors()["G4.reply_ACK_to_SCALE_MAX_lcore3"]


def test_a_nack_differs_from_the_request_in_one_number() -> None:
    vectors = read_vectors()
    packet = vectors["G4.CPU_POWER_ENABLE_TURBO_lcore3"]
    refusal = vectors["G4.reply_NACK_to_ENABLE_TURBO_lcore3"]
    assert encode_answer(packet, Answer.NACK) == refusal


@pytest.mark.parametrize("generation", GENERATIONS.values())
@given(request=requests)
def test_an_encoded_request_decodes_to_itself(
    generation: Generation, request: Request
) -> None:
    if not generation.has_core_type:
        request = request._replace(core_type=0)
    packet = encode(request, generation)
    assert len(packet) == generation.size_bytes
    assert decode(packet, generation) == request


@pytest.mark.fuzz
@given(st.binary(max_size=2 * SIZE))
def test_invalid_bytes_raise_only_packet_errors(data: bytes) -> None:
    if len(data) == SIZE:
        assert decode(data).vcpu >= 0
    else:
        with pytest.raises(PacketError):
            decode(data)


@given(st.binary(min_size=SIZE, max_size=SIZE))
def test_an_answer_differs_from_its_packet_only_in_the_code(packet: bytes) -> None:
    answer = encode_answer(packet, Answer.NACK)
    assert (answer[:12], answer[16:]) == (packet[:12], packet[16:])
    assert answer[12:16] == b"\2\0\0\0"


@pytest.mark.fuzz
@given(st.lists(requests, max_size=5), st.binary(max_size=SIZE - 1))
def test_all_whole_packets_of_a_stream_are_decoded(
    sent: list[Request], rest: bytes
) -> None:
    stream = b"".join(map(encode, sent)) + rest
    assert list(decode_all(stream)) == sent
