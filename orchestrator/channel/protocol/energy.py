# SPDX-License-Identifier: Apache-2.0
"""The reply to a query of energy, which is an extension of vmpower.

The query is an ordinary packet. Its reply has the same layout for all guests, because
it has no padding that compilers could choose.
"""

from __future__ import annotations

import struct
from typing import NamedTuple

from orchestrator.channel.protocol.codes import Answer, FigureSource
from orchestrator.errors import PacketError

ENERGY_REPLY = struct.Struct("<QLL32s9qLL")
"""A header and a name as in other replies, the figures, their source, and zero."""


class EnergyFigures(NamedTuple):
    """What a domain drew and saved, in the order of the wire."""

    drawn_uj: int
    """Microjoules since the domain started, or its accounting if that is later."""
    drawn_error_uj: int
    """Uncertainty of the field before it: one standard deviation; so are the others."""
    saved_uj: int
    """What its vCPUs would have drawn more at their highest permitted steps; negative
    if the meters' noise makes it so."""
    saved_error_uj: int
    power_uw: int
    """Microwatts, the mean of the last seconds."""
    power_error_uw: int
    saved_uw: int
    """The same as `saved_uj`, in the last seconds."""
    saved_error_uw: int
    duration_ms: int
    """What the energies were summed up over."""
    source: int
    """An `FigureSource`."""


def encode_energy(figures: EnergyFigures, *, vm_name: bytes = b"") -> bytes:
    """Encode a reply.

    Args:
        figures: what to reply.
        vm_name: the name in the query, which is returned unchanged.

    Raises:
        PacketError: a figure does not fit.
    """
    return _pack(int(Answer.ENERGY), vm_name, figures)


def encode_energy_refusal(*, vm_name: bytes = b"") -> bytes:
    """Encode the refusal of a query, in the size of the reply."""
    return _pack(int(Answer.NACK), vm_name, EnergyFigures(*[0] * 10))


def decode_energy(reply: bytes) -> EnergyFigures:
    """Decode a reply that is not a refusal.

    Raises:
        PacketError: not the size of such a reply, not one, or of an unknown source.
    """
    if len(reply) != ENERGY_REPLY.size:
        raise PacketError(f"invalid reply: {len(reply)} bytes")
    _, _, command, _, *fields, _ = ENERGY_REPLY.unpack(reply)
    figures = EnergyFigures(*fields)
    if command != Answer.ENERGY or figures.source not in tuple(FigureSource):
        raise PacketError("the answer has no energy")
    return figures


def _pack(command: int, vm_name: bytes, figures: EnergyFigures) -> bytes:
    try:
        return ENERGY_REPLY.pack(0, 0, command, vm_name, *figures, 0)
    except struct.error as error:
        raise PacketError(f"the reply does not fit: {error}") from None
