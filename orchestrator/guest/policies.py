# SPDX-License-Identifier: Apache-2.0
"""The four policies that a guest can send, as packets. Pure.

Source: DPDK's guest_cli. vmpowerd and DPDK's host interpret unused hours differently,
so a list of hours is filled up with its last one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from orchestrator.channel.protocol import (
    HOURS,
    MAX_MACS,
    MAX_VCPUS,
    PolicyKind,
    PolicyPacket,
    WorkloadLevel,
)
from orchestrator.errors import PacketError

if TYPE_CHECKING:
    from collections.abc import Sequence

MAC_BYTES = 6
_MAX_NAME_BYTES = 31
"""The field has 32, but the last must be zero for DPDK's host."""
WORKLOADS = {level.name.lower(): level for level in WorkloadLevel}
"""By their names on the command line."""

DEFAULT_AVG_PPS = 1_800_000
DEFAULT_MAX_PPS = 2_000_000
"""The thresholds of DPDK's guest_cli."""


def new_policy(kind: PolicyKind, vcpus: Sequence[int]) -> PolicyPacket:
    """Create a policy for some vCPUs of the VM.

    Raises:
        PacketError: there are no vCPUs, or too many.
    """
    if not vcpus or len(vcpus) > MAX_VCPUS:
        raise PacketError(
            f"invalid number of vCPUs {len(vcpus)}: expected 1 to {MAX_VCPUS}",
            hint="a policy has no room for more; send several",
        )
    if max(vcpus) > 0xFF:
        raise PacketError(f"invalid vCPU {max(vcpus)} for a policy: expected 0 to 255")
    return PolicyPacket(policy=kind, vcpus=_fill(vcpus, MAX_VCPUS), num_vcpu=len(vcpus))


def set_vm_name(policy: PolicyPacket, name: str) -> PolicyPacket:
    """Set the VM's name, by which DPDK's own host identifies it.

    Raises:
        PacketError: the name is too long.
    """
    encoded = name.encode()
    if len(encoded) > _MAX_NAME_BYTES:
        raise PacketError(
            f"VM name too long: {len(encoded)} bytes, at most {_MAX_NAME_BYTES} fit",
            hint="omit it: vmpowerd knows the domain from the channel",
        )
    return policy._replace(vm_name=encoded)


def set_traffic(
    policy: PolicyPacket, macs: Sequence[bytes], avg_pps: int, max_pps: int
) -> PolicyPacket:
    """Set the interfaces whose packets count, and the thresholds.

    Raises:
        PacketError: there are too many addresses.
    """
    if len(macs) > MAX_MACS:
        raise PacketError(
            f"too many MAC addresses: {len(macs)}, at most {MAX_MACS} fit"
        )
    slots = [mac.ljust(8, b"\0") for mac in macs]
    return policy._replace(
        vfid=(*slots, *[bytes(8)] * (MAX_MACS - len(slots))),
        nb_mac=len(slots),
        avg_pps=avg_pps,
        max_pps=max_pps,
    )


def set_hours(
    policy: PolicyPacket,
    busy: Sequence[int],
    quiet: Sequence[int],
    traffic: Sequence[int],
) -> PolicyPacket:
    """Set the hours with a high or low frequency, or one that follows the traffic.

    Raises:
        PacketError: there is no hour, or only hour 0.
    """
    if not (busy or quiet or traffic):
        raise PacketError(
            "a time policy needs hours", hint="for example: --busy 8-17 --quiet 22,23"
        )
    return policy._replace(
        busy_hours=_fill_hours(busy),
        quiet_hours=_fill_hours(quiet),
        traffic_hours=_fill_hours(traffic),
    )


def _fill_hours(hours: Sequence[int]) -> tuple[int, ...]:
    if hours and not any(hours):
        raise PacketError(
            "hour 0 alone cannot be encoded: 0 also means no hour",
            hint="add another hour, such as 0,1",
        )
    ordered = sorted(set(hours))
    # Filled with the last hour, not with zeros: DPDK's host takes 0 for an hour.
    return _fill(ordered, HOURS, ordered[-1] if ordered else 0)


def _fill(numbers: Sequence[int], slots: int, rest: int = 0) -> tuple[int, ...]:
    return (*numbers, *[rest] * (slots - len(numbers)))
