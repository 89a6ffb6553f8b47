"""The replies to queries; only their entries and `num_vcpu` are read by guests."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Any, NamedTuple

from orchestrator.channel.protocol.generations import GENERATION_464, MAX_VCPUS
from orchestrator.channel.protocol.words import Answer, Command
from orchestrator.errors import PacketError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from orchestrator.channel.protocol.generations import Generation

_NOTHING = (0,) * MAX_VCPUS
_CAPABILITY_QUERIES = (int(Command.QUERY_CAPS), int(Command.QUERY_CAPS_LIST))


class Frequencies(NamedTuple):
    """The reply to QUERY_FREQ and QUERY_FREQ_LIST."""

    resource_id: int = 0
    unit: int = 0
    command: int = Answer.FREQ_LIST
    vm_name: bytes = b""
    """At most 32 bytes."""
    khz: tuple[int, ...] = _NOTHING
    """All slots, by vCPU; 0: unknown, or not asked for."""
    num_vcpu: int = 0
    """The domain's vCPUs; there may be more than slots."""


class Capabilities(NamedTuple):
    """The reply to QUERY_CAPS and QUERY_CAPS_LIST."""

    resource_id: int = 0
    unit: int = 0
    command: int = Answer.CAPS_LIST
    vm_name: bytes = b""
    """At most 32 bytes."""
    turbo: tuple[int, ...] = _NOTHING
    """All slots, by vCPU; 1: there is a turbo step."""
    priority: tuple[int, ...] = _NOTHING
    """All slots, by vCPU; 1: its CPU is faster than others."""
    num_vcpu: int = 0
    """The domain's vCPUs; there may be more than slots."""


def encode_frequencies(
    reply: Frequencies, generation: Generation = GENERATION_464
) -> bytes:
    """Write a reply; padding is zero.

    Raises:
        PacketError: guests of that generation do not read, or a field does not fit.
    """
    head, tail = reply[:4], reply[5:]
    return _pack(generation.frequencies, (*head, *reply.khz, *tail))


def encode_capabilities(
    reply: Capabilities, generation: Generation = GENERATION_464
) -> bytes:
    """Write a reply; padding is zero.

    Raises:
        PacketError: guests of that generation do not read, or a field does not fit.
    """
    head, tail = reply[:4], reply[6:]
    return _pack(generation.capabilities, (*head, *reply.turbo, *reply.priority, *tail))


def encode_refusal(
    query: int, generation: Generation = GENERATION_464, *, vm_name: bytes = b""
) -> bytes:
    """Refuse a query in as many bytes as its asker waits for.

    Args:
        query: the command of the query.
        generation: the asker's.
        vm_name: the asker's word, given back as it came.

    Raises:
        PacketError: guests of that generation do not read.
    """
    if query in _CAPABILITY_QUERIES:
        caps = Capabilities(command=Answer.NACK, vm_name=vm_name)
        return encode_capabilities(caps, generation)
    clocks = Frequencies(command=Answer.NACK, vm_name=vm_name)
    return encode_frequencies(clocks, generation)


def decode_frequencies(
    reply: bytes, generation: Generation = GENERATION_464
) -> Frequencies:
    """Read a reply; look at its command first.

    Raises:
        PacketError: it has not the size of such a reply.
    """
    fields = _unpack(generation.frequencies, reply)
    resource_id, unit, command, vm_name, *khz, num_vcpu = fields
    return Frequencies(resource_id, unit, command, vm_name, tuple(khz), num_vcpu)


def decode_capabilities(
    reply: bytes, generation: Generation = GENERATION_464
) -> Capabilities:
    """Read a reply; look at its command first.

    Raises:
        PacketError: it has not the size of such a reply.
    """
    fields = _unpack(generation.capabilities, reply)
    resource_id, unit, command, vm_name, *slots, num_vcpu = fields
    return Capabilities(
        resource_id=resource_id,
        unit=unit,
        command=command,
        vm_name=vm_name,
        turbo=tuple(slots[:MAX_VCPUS]),
        priority=tuple(slots[MAX_VCPUS:]),
        num_vcpu=num_vcpu,
    )


def _pack(layout: struct.Struct | None, fields: Sequence[object]) -> bytes:
    if layout is None:
        raise PacketError("guests of this generation read no replies")
    try:
        return layout.pack(*fields)
    except struct.error as error:
        raise PacketError(f"the reply does not fit: {error}") from None


def _unpack(layout: struct.Struct | None, reply: bytes) -> Sequence[Any]:
    if layout is None or len(reply) != layout.size:
        raise PacketError(f"{len(reply)} bytes are no reply")
    return layout.unpack(reply)
