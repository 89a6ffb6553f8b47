"""A packet's first fields, which every generation has, and answers to it."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from orchestrator.channel.protocol.generations import GENERATION_464
from orchestrator.channel.protocol.words import Answer, Command, CoreType
from orchestrator.errors import PacketError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from orchestrator.channel.protocol.generations import Generation


Header = tuple[int, int, int, int]
"""The same four numbers as in a `Request`, where it would be one name too many."""


class Request(NamedTuple):
    """The fields of a packet that mean something to us, in the order of the wire."""

    vcpu: int
    """`resource_id` of the wire: the guest's lcore, taken as a vCPU's number."""
    unit: int
    """A `Unit`, or whatever the guest wrote."""
    command: int = Command.CPU_POWER
    """A `Command`, or whatever the guest wrote."""
    core_type: int = CoreType.VIRTUAL
    """A `CoreType`; VIRTUAL where the generation has no such field."""


def decode(packet: bytes, generation: Generation = GENERATION_464) -> Request:
    """Read one whole packet.

    Raises:
        PacketError: it has not the size of a packet.
    """
    if len(packet) != generation.size_bytes:
        raise PacketError(f"{len(packet)} bytes are no packet")
    return Request(*generation.header.unpack(packet))


def decode_all(
    data: bytes, generation: Generation = GENERATION_464
) -> Iterator[Request]:
    """Read every whole packet of a piece of stream that starts at a packet.

    The bytes after the last whole packet are the caller's to keep.
    """
    end = len(data) - len(data) % generation.size_bytes
    return (Request(*fields) for fields in generation.header.iter_unpack(data[:end]))


def read_headers(data: bytes, generation: Generation = GENERATION_464) -> list[Header]:
    """Read the headers of whole packets: what `decode_all` reads, at half the price."""
    unpacked = generation.header.iter_unpack(data)
    if generation.has_core_type:
        return list(unpacked)
    virtual = int(CoreType.VIRTUAL)
    return [(number, unit, command, virtual) for number, unit, command in unpacked]


def encode(request: Request, generation: Generation = GENERATION_464) -> bytes:
    """Write a request as DPDK's guest library does: every other byte is zero."""
    return generation.header.pack(*request[: 4 if generation.has_core_type else 3])


def encode_connect(generation: Generation = GENERATION_464) -> bytes:
    """Write the packet that a guest sends when it has opened its port."""
    return encode(Request(0, 0, Command.CONNECT), generation)


def encode_answer(
    packet: bytes, answer: Answer, generation: Generation = GENERATION_464
) -> bytes:
    """Answer a request: an echo of every byte of it, with the answer's number."""
    offset = generation.answer_offset
    number = int(answer).to_bytes(4, "little")
    return packet[:offset] + number + packet[offset + 4 :]
