"""The four policies that a guest can send, as packets. Pure.

Source: DPDK's guest_cli (what its command sends); vmpowerd and DPDK's host differ in
what they make of an unused hour, so none is left unused where one is named.
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
_MOST_NAME_BYTES = 31
"""The field has 32, of which one must be zero: DPDK's host reads on to it."""
WORKLOADS = {level.name.lower(): level for level in WorkloadLevel}
"""By the words that people use."""

DEFAULT_AVG_PPS = 1_800_000
DEFAULT_MAX_PPS = 2_000_000
"""The thresholds of DPDK's guest_cli."""


def new_policy(kind: PolicyKind, vcpus: Sequence[int]) -> PolicyPacket:
    """Begin a policy for some vCPUs of this VM.

    Raises:
        PacketError: there are too many, or none.
    """
    if not vcpus or len(vcpus) > MAX_VCPUS:
        raise PacketError(
            f"{len(vcpus)} vCPUs in one policy",
            hint=f"name 1 to {MAX_VCPUS}; the packet has no room for more",
        )
    if max(vcpus) > 0xFF:
        raise PacketError(f"vCPU {max(vcpus)} does not fit into a policy (0 to 255)")
    return PolicyPacket(policy=kind, vcpus=_fill(vcpus, MAX_VCPUS), num_vcpu=len(vcpus))


def name_vm(policy: PolicyPacket, name: str) -> PolicyPacket:
    """Say the VM's name, by which DPDK's own host finds it.

    Raises:
        PacketError: it is too long.
    """
    encoded = name.encode()
    if len(encoded) > _MOST_NAME_BYTES:
        raise PacketError(
            f"the name has {len(encoded)} bytes, and room is for {_MOST_NAME_BYTES}",
            hint="leave it out: vmpowerd knows which domain a channel belongs to",
        )
    return policy._replace(vm_name=encoded)


def watch_traffic(
    policy: PolicyPacket, macs: Sequence[bytes], avg_pps: int, max_pps: int
) -> PolicyPacket:
    """Say whose packets count, and from which rates on the clock is higher.

    Raises:
        PacketError: there are too many addresses.
    """
    if len(macs) > MAX_MACS:
        raise PacketError(f"{len(macs)} MAC addresses, and room is for {MAX_MACS}")
    slots = [mac.ljust(8, b"\0") for mac in macs]
    return policy._replace(
        vfid=(*slots, *[bytes(8)] * (MAX_MACS - len(slots))),
        nb_mac=len(slots),
        avg_pps=avg_pps,
        max_pps=max_pps,
    )


def keep_hours(
    policy: PolicyPacket,
    busy: Sequence[int],
    quiet: Sequence[int],
    traffic: Sequence[int],
) -> PolicyPacket:
    """Say in which hours of the day the clock is high, low, or follows the traffic.

    Raises:
        PacketError: there is no hour, or hour 0 alone.
    """
    if not (busy or quiet or traffic):
        raise PacketError(
            "a time policy without hours", hint="name some: --busy 8-17 --quiet 22,23"
        )
    return policy._replace(
        busy_hours=_fill_hours(busy),
        quiet_hours=_fill_hours(quiet),
        traffic_hours=_fill_hours(traffic),
    )


def _fill_hours(hours: Sequence[int]) -> tuple[int, ...]:
    if hours and not any(hours):
        raise PacketError(
            "hour 0 alone cannot be said: 0 also stands for no hour",
            hint="name another hour with it, such as 0,1",
        )
    ordered = sorted(set(hours))
    # The last hour once more, instead of zeros: to DPDK's host 0 is an hour always.
    return _fill(ordered, HOURS, ordered[-1] if ordered else 0)


def _fill(numbers: Sequence[int], slots: int, rest: int = 0) -> tuple[int, ...]:
    return (*numbers, *[rest] * (slots - len(numbers)))
