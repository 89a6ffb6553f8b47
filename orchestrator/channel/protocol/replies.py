# SPDX-License-Identifier: Apache-2.0
"""The replies to queries; guests read only their entries and `num_vcpu`."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Any, NamedTuple

from orchestrator.channel.protocol.codes import Answer, Command
from orchestrator.channel.protocol.generations import GENERATION_464, MAX_VCPUS
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
    """All slots, by vCPU; 0: unknown, or not queried."""
    num_vcpu: int = 0
    """Number of vCPUs of the domain; may exceed the number of slots."""


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
    """Number of vCPUs of the domain; may exceed the number of slots."""


def encode_frequencies(
    reply: Frequencies, generation: Generation = GENERATION_464
) -> bytes:
    """Encode a reply; padding is zero.

    Raises:
        PacketError: the generation has no replies, or a field does not fit.
    """
    head, tail = reply[:4], reply[5:]
    return _pack(generation.frequencies, (*head, *reply.khz, *tail))


def encode_capabilities(
    reply: Capabilities, generation: Generation = GENERATION_464
) -> bytes:
    """Encode a reply; padding is zero.

    Raises:
        PacketError: the generation has no replies, or a field does not fit.
    """
    head, tail = reply[:4], reply[6:]
    return _pack(generation.capabilities, (*head, *reply.turbo, *reply.priority, *tail))


def encode_refusal(
    query: int, generation: Generation = GENERATION_464, *, vm_name: bytes = b""
) -> bytes:
    """Encode the refusal of a query, in the size of the reply that is expected.

    Args:
        query: the command of the query.
        generation: of the guest.
        vm_name: the name in the query, which is returned unchanged.

    Raises:
        PacketError: the generation has no replies.
    """
    if query in _CAPABILITY_QUERIES:
        caps = Capabilities(command=Answer.NACK, vm_name=vm_name)
        return encode_capabilities(caps, generation)
    frequencies = Frequencies(command=Answer.NACK, vm_name=vm_name)
    return encode_frequencies(frequencies, generation)


def decode_frequencies(
    reply: bytes, generation: Generation = GENERATION_464
) -> Frequencies:
    """Decode a reply; the caller has to check its command.

    Raises:
        PacketError: not the size of such a reply.
    """
    fields = _unpack(generation.frequencies, reply)
    resource_id, unit, command, vm_name, *khz, num_vcpu = fields
    return Frequencies(resource_id, unit, command, vm_name, tuple(khz), num_vcpu)


def decode_capabilities(
    reply: bytes, generation: Generation = GENERATION_464
) -> Capabilities:
    """Decode a reply; the caller has to check its command.

    Raises:
        PacketError: not the size of such a reply.
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
        raise PacketError("guests of this generation do not read replies")
    try:
        return layout.pack(*fields)
    except struct.error as error:
        raise PacketError(f"the reply does not fit: {error}") from None


def _unpack(layout: struct.Struct | None, reply: bytes) -> Sequence[Any]:
    if layout is None or len(reply) != layout.size:
        raise PacketError(f"invalid reply: {len(reply)} bytes")
    return layout.unpack(reply)
