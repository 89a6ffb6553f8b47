# SPDX-License-Identifier: Apache-2.0
"""The first fields of a packet, common to all generations, and its answer."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from orchestrator.channel.protocol.codes import Answer, Command, CoreType
from orchestrator.channel.protocol.generations import GENERATION_464
from orchestrator.errors import PacketError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from orchestrator.channel.protocol.generations import Generation


Header = tuple[int, int, int, int]
"""The four numbers of a `Request`, as a plain tuple for the fast path."""


class Request(NamedTuple):
    """The fields of a packet that matter here, in their order on the wire."""

    vcpu: int
    """`resource_id` on the wire: the guest's lcore, taken as a vCPU number."""
    unit: int
    """A `Unit`, or any other number that the guest wrote."""
    command: int = Command.CPU_POWER
    """A `Command`, or any other number that the guest wrote."""
    core_type: int = CoreType.VIRTUAL
    """A `CoreType`; VIRTUAL if the generation has no such field."""


def decode(packet: bytes, generation: Generation = GENERATION_464) -> Request:
    """Decode one whole packet.

    Raises:
        PacketError: not the size of a packet.
    """
    if len(packet) != generation.size_bytes:
        raise PacketError(f"invalid packet: {len(packet)} bytes")
    return Request(*generation.header.unpack(packet))


def decode_all(
    data: bytes, generation: Generation = GENERATION_464
) -> Iterator[Request]:
    """Decode every whole packet in bytes that start with a packet.

    The caller keeps the bytes after the last whole packet.
    """
    end = len(data) - len(data) % generation.size_bytes
    return (Request(*fields) for fields in generation.header.iter_unpack(data[:end]))


def read_headers(data: bytes, generation: Generation = GENERATION_464) -> list[Header]:
    """Decode the headers of whole packets, at half the cost of `decode_all`."""
    unpacked = generation.header.iter_unpack(data)
    if generation.has_core_type:
        return list(unpacked)
    virtual = int(CoreType.VIRTUAL)
    return [(number, unit, command, virtual) for number, unit, command in unpacked]


def encode(request: Request, generation: Generation = GENERATION_464) -> bytes:
    """Encode a request as DPDK's guest library does: all other bytes are zero."""
    return generation.header.pack(*request[: 4 if generation.has_core_type else 3])


def encode_connect(generation: Generation = GENERATION_464) -> bytes:
    """Encode the packet that a guest sends after opening its port."""
    return encode(Request(0, 0, Command.CONNECT), generation)


def encode_answer(
    packet: bytes, answer: Answer, generation: Generation = GENERATION_464
) -> bytes:
    """Encode the answer to a request: the same bytes with the answer's code."""
    offset = generation.answer_offset
    number = int(answer).to_bytes(4, "little")
    return packet[:offset] + number + packet[offset + 4 :]
