"""The bytes that DPDK's power library and a host exchange over a channel.

Theory of operation: there is no framing, no magic and no version; a packet is a C
structure dumped on a byte stream, little-endian with natural alignment, and its size
is the only trace of its generation. Packets arrive cut and coalesced at will. An ACK
of a power request is byte for byte the request, because the number of the answer
stands where the number of the command stood, and both are 1.

Pure, and importable by Python 3.9: the guest's side uses it too.

Source: DPDK's rte_power_guest_channel.h, v18.11 to v26.07 (464 bytes on 64-bit guests
since v18.11; answers since v19.11).
"""

from __future__ import annotations

from enum import IntEnum
from struct import Struct
from typing import TYPE_CHECKING, NamedTuple

from orchestrator.errors import PacketError

if TYPE_CHECKING:
    from collections.abc import Iterator


class Command(IntEnum):
    """What a packet asks for; the wire name is the same."""

    CPU_POWER = 1
    """Change the clock of one vCPU, as the unit says."""
    CONNECT = 2
    """A guest opened its port. Every other field is stack garbage: ignore it."""


class Unit(IntEnum):
    """How the clock is to change; the wire calls it unit, or scale."""

    SCALE_UP = 1
    """One step faster."""
    SCALE_DOWN = 2
    """One step slower."""
    SCALE_MAX = 3
    """The fastest step that is allowed."""
    SCALE_MIN = 4
    """The slowest step."""
    ENABLE_TURBO = 5
    """Allow the turbo step, and go there."""
    DISABLE_TURBO = 6
    """Forbid the turbo step, and go to the fastest one below it."""


class Answer(IntEnum):
    """What a host answers; it stands where the request had its command."""

    ACK = 1
    """Done."""
    NACK = 2
    """Refused."""


class Request(NamedTuple):
    """The fields of a packet that mean something to us, in the order of the wire."""

    vcpu: int
    """`resource_id` of the wire: the guest's lcore, taken as a vCPU's number."""
    unit: int
    """A `Unit`, or whatever the guest wrote."""
    command: int = Command.CPU_POWER
    """A `Command`, or whatever the guest wrote."""
    core_type: int = 0
    """0: `vcpu` is virtual. Any other byte: the guest means a host CPU (refused)."""


class Generation(NamedTuple):
    """One layout of the packet; a guest never says which it speaks."""

    size_bytes: int
    header: Struct
    """Yields the fields of a `Request` from a whole packet."""
    answer_offset: int
    """Where the answer's number stands; 4 bytes, of which only the first is not 0."""


GENERATION_464 = Generation(
    size_bytes=464,
    # u64 resource_id, u32 unit, u32 command, policy and names, u8 core_type, the rest
    header=Struct("<QII428xB19x"),
    answer_offset=12,
)
"""64-bit guests from DPDK v18.11 on: all that are still supported."""


def decode(packet: bytes, generation: Generation = GENERATION_464) -> Request:
    """Read one whole packet.

    Raises:
        PacketError: it has not the size of a packet.
    """
    if len(packet) != generation.size_bytes:
        raise PacketError(f"{len(packet)} bytes are no packet")
    return Request._make(generation.header.unpack(packet))


def decode_all(
    data: bytes, generation: Generation = GENERATION_464
) -> Iterator[Request]:
    """Read every whole packet of a piece of stream that starts at a packet.

    The bytes after the last whole packet are the caller's to keep.
    """
    end = len(data) - len(data) % generation.size_bytes
    return map(Request._make, generation.header.iter_unpack(data[:end]))


def encode(request: Request, generation: Generation = GENERATION_464) -> bytes:
    """Write a request as DPDK's guest library does: every other byte is zero."""
    return generation.header.pack(*request)


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
