# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.channel.protocol import (
    ENERGY_REPLY,
    Answer,
    Command,
    EnergyFigures,
    FigureSource,
    decode_energy,
    encode_energy,
    encode_energy_refusal,
)
from orchestrator.errors import PacketError

NUMBERS = st.integers(-(2**63), 2**63 - 1)
FIGURES = st.builds(
    EnergyFigures, *[NUMBERS] * 9, source=st.sampled_from(FigureSource).map(int)
)


@given(FIGURES, st.binary(max_size=32))
def test_figures_are_decoded_as_they_were_encoded(
    figures: EnergyFigures, name: bytes
) -> None:
    reply = encode_energy(figures, vm_name=name)
    assert len(reply) == ENERGY_REPLY.size == 128
    assert decode_energy(reply) == figures
    assert reply[16:48] == name.ljust(32, b"\0")


@given(st.binary(max_size=150))
def test_other_bytes_are_not_figures(data: bytes) -> None:
    try:
        figures = decode_energy(data)
    except PacketError:
        return
    assert figures.source in tuple(FigureSource)


def test_a_refusal_is_no_figures() -> None:
    refusal = encode_energy_refusal()
    assert refusal[12] == Answer.NACK
    with pytest.raises(PacketError, match="has no energy"):
        decode_energy(refusal)


def test_figures_that_do_not_fit_are_an_error() -> None:
    figures = EnergyFigures(*[0] * 10)._replace(drawn_uj=2**63)
    with pytest.raises(PacketError, match="does not fit"):
        encode_energy(figures)


def test_codes_of_extensions_are_far_from_those_of_dpdk() -> None:
    """A later DPDK may number its own on from 10 and 4."""
    assert min(Command.QUERY_ENERGY, Answer.ENERGY) > 100
