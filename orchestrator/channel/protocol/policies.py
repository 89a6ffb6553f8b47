# SPDX-License-Identifier: Apache-2.0
"""The packet that installs a policy: decoded and encoded, not checked.

Fields that a policy does not use may hold stack garbage: unused hours (v17.11 to
v18.05), the last two bytes of every `vfid` slot, the bytes after the name's zero.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Any, NamedTuple

from orchestrator.channel.protocol.codes import Command, CoreType
from orchestrator.channel.protocol.generations import GENERATION_464, MAX_VCPUS
from orchestrator.errors import PacketError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from orchestrator.channel.protocol.generations import Generation

MAX_MACS = 10
"""Slots for MAC addresses."""
HOURS = 24
"""Slots of each list of hours; 0 where unused, which is an hour too."""

_NO_HOURS = (0,) * HOURS


class PolicyPacket(NamedTuple):
    """The fields of a policy, in the order of the wire, as the guest wrote them."""

    resource_id: int = 0
    unit: int = 0
    command: int = Command.PKT_POLICY
    vm_name: bytes = b""
    """32 bytes; a well-formed name ends with a zero."""
    vfid: tuple[bytes, ...] = (b"",) * MAX_MACS
    """All slots, 8 bytes each, of which the first 6 are a MAC address."""
    nb_mac: int = 0
    """How many slots of `vfid` are used, according to the guest."""
    min_pps: int = 0
    """Thresholds in packets per second; DPDK's host does not use this one."""
    avg_pps: int = 0
    max_pps: int = 0
    vcpus: tuple[int, ...] = (0,) * MAX_VCPUS
    """All slots."""
    num_vcpu: int = 0
    """How many slots of `vcpus` are used, according to the guest."""
    busy_hours: tuple[int, ...] = _NO_HOURS
    """All slots, as for the other hours."""
    quiet_hours: tuple[int, ...] = _NO_HOURS
    traffic_hours: tuple[int, ...] = _NO_HOURS
    core_type: int = CoreType.VIRTUAL
    """A `CoreType`; VIRTUAL where the generation has no such field."""
    workload: int = 0
    """A `WorkloadLevel`; the guest can send any number."""
    policy: int = 0
    """A `PolicyKind`; the guest can send any number."""
    turbo: int = 0
    """Not used by any version of DPDK."""


def decode_policy(
    packet: bytes, generation: Generation = GENERATION_464
) -> PolicyPacket:
    """Decode one whole packet as a policy.

    Raises:
        PacketError: it has the wrong size, or the generation has no policies.
    """
    if generation.policy is None or len(packet) != generation.size_bytes:
        raise PacketError(
            f"invalid policy: {len(packet)} bytes, generation {generation.size_bytes}"
        )
    fields: Iterator[Any] = iter(generation.policy.unpack(packet))
    # Arguments are evaluated from left to right, which is the order of the wire.
    return PolicyPacket(
        resource_id=next(fields),
        unit=next(fields),
        command=next(fields),
        vm_name=next(fields),
        vfid=_take(fields, MAX_MACS),
        nb_mac=next(fields),
        min_pps=next(fields),
        avg_pps=next(fields),
        max_pps=next(fields),
        vcpus=_take(fields, MAX_VCPUS),
        num_vcpu=next(fields),
        busy_hours=_take(fields, HOURS),
        quiet_hours=_take(fields, HOURS),
        traffic_hours=_take(fields, HOURS),
        core_type=next(fields) if generation.has_core_type else CoreType.VIRTUAL,
        workload=next(fields),
        policy=next(fields),
        turbo=next(fields),
    )


def encode_policy(
    policy: PolicyPacket, generation: Generation = GENERATION_464
) -> bytes:
    """Encode a policy; texts are cut or filled with zeros, padding is zero.

    Raises:
        PacketError: the generation has no policies, or a field does not fit.
    """
    if generation.policy is None:
        raise PacketError(f"generation {generation.size_bytes} has no policies")
    try:
        return _pack(generation.policy, policy, has_core_type=generation.has_core_type)
    except struct.error as error:
        raise PacketError(f"the policy does not fit: {error}") from None


def _pack(layout: struct.Struct, policy: PolicyPacket, *, has_core_type: bool) -> bytes:
    return layout.pack(
        *policy[:4],
        *policy.vfid,
        *policy[5:9],
        *policy.vcpus,
        policy.num_vcpu,
        *policy.busy_hours,
        *policy.quiet_hours,
        *policy.traffic_hours,
        *policy[14 if has_core_type else 15 :],
    )


def _take(fields: Iterator[Any], count: int) -> tuple[Any, ...]:
    return tuple(next(fields) for _ in range(count))
