# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.channel.protocol import (
    GENERATION_16,
    GENERATION_456,
    GENERATION_460,
    GENERATION_464,
    MAX_VCPUS,
    Answer,
    Capabilities,
    Command,
    Frequencies,
    Generation,
    decode_capabilities,
    decode_frequencies,
    encode_capabilities,
    encode_frequencies,
    encode_refusal,
)
from orchestrator.errors import PacketError
from tests.channel.vectors import read_vectors

ANSWERED = [GENERATION_460, GENERATION_464]
KHZ = (2_300_001, 2_300_000, 1_200_000, 800_000)


def _fill(*values: int) -> tuple[int, ...]:
    return values + (0,) * (MAX_VCPUS - len(values))


def _frequencies(khz: tuple[int, ...]) -> Frequencies:
    return Frequencies(vm_name=bytes(32), khz=khz, num_vcpu=4)


def test_frequencies_are_encoded_as_dpdk_s_guests_decode_them() -> None:
    vectors = read_vectors()
    everything = _frequencies(_fill(*KHZ))
    one = _frequencies(_fill(0, 0, KHZ[2]))
    for name, reply in (("LIST_4vcpu", everything), ("single_vcpu2", one)):
        packet = vectors[f"G4.reply_FREQ_{name}"]
        assert decode_frequencies(packet) == reply
        assert encode_frequencies(reply) == packet


def test_capabilities_are_encoded_as_dpdk_s_guests_decode_them() -> None:
    vectors = read_vectors()
    everything = Capabilities(
        vm_name=bytes(32), turbo=_fill(1, 1, 1, 1), priority=_fill(1), num_vcpu=4
    )
    one = Capabilities(vm_name=bytes(32), turbo=_fill(0, 0, 1), num_vcpu=4)
    for name, reply in (("LIST_4vcpu", everything), ("single_vcpu2", one)):
        packet = vectors[f"G4.reply_CAPS_{name}"]
        assert decode_capabilities(packet) == reply
        assert encode_capabilities(reply) == packet


@pytest.mark.parametrize(
    ("generation", "sizes"), [(GENERATION_460, (84, 180)), (GENERATION_464, (88, 184))]
)
def test_a_reply_has_the_size_of_its_generation(
    generation: Generation, sizes: tuple[int, int]
) -> None:
    clocks = encode_frequencies(Frequencies(khz=_fill(*KHZ)), generation)
    abilities = encode_capabilities(Capabilities(turbo=_fill(1)), generation)
    assert (len(clocks), len(abilities)) == sizes
    assert decode_frequencies(clocks, generation).khz == _fill(*KHZ)
    assert decode_capabilities(abilities, generation).turbo == _fill(1)


@pytest.mark.parametrize("generation", ANSWERED)
@pytest.mark.parametrize("query", range(7, 11))
def test_a_refusal_has_the_size_of_the_reply(
    generation: Generation, query: int
) -> None:
    refusal = encode_refusal(query, generation, vm_name=b"asker")
    is_clocks = query in (Command.QUERY_FREQ, Command.QUERY_FREQ_LIST)
    layout = generation.frequencies if is_clocks else generation.capabilities
    assert layout is not None
    assert len(refusal) == layout.size
    assert refusal[12:16] == Answer.NACK.to_bytes(4, "little")
    assert refusal[16:21] == b"asker"
    assert not any(refusal[:12] + refusal[21:])


@pytest.mark.parametrize("generation", [GENERATION_16, GENERATION_456])
def test_old_generations_have_no_replies(generation: Generation) -> None:
    assert not generation.is_answered
    with pytest.raises(PacketError, match="do not read replies"):
        encode_frequencies(Frequencies(), generation)
    with pytest.raises(PacketError, match="do not read replies"):
        encode_refusal(Command.QUERY_CAPS, generation)


@pytest.mark.fuzz
@pytest.mark.parametrize("generation", ANSWERED)
@given(data=st.binary(max_size=200) | st.sampled_from([84, 88, 180, 184]).map(bytes))
def test_invalid_bytes_raise_only_packet_errors(
    generation: Generation, data: bytes
) -> None:
    for layout, decode in (
        (generation.frequencies, decode_frequencies),
        (generation.capabilities, decode_capabilities),
    ):
        if layout is not None and len(data) == layout.size:
            assert decode(data, generation).num_vcpu >= 0
        else:
            with pytest.raises(PacketError):
                decode(data, generation)


def test_a_number_that_does_not_fit_is_refused() -> None:
    with pytest.raises(PacketError, match="does not fit"):
        encode_frequencies(Frequencies(khz=_fill(2**32)))
