# SPDX-License-Identifier: Apache-2.0
"""Turns a guest's PKT_POLICY into a policy, or gives the reason why not; pure.

No field of the packet is used before it is checked: counts against the arrays, vCPUs
and MAC addresses against the guest's own domain, hours and levels against their ranges.
Fields that a policy does not use are ignored, because guests leave garbage in them.

Hours: a packet has 24 slots, and 0 in those that are not used, so hour 0 counts only
where an hour other than 0 follows it (`0,1,2`); it cannot be sent alone. DPDK 17.11 to
18.05, whose packets have 456 bytes, leaves stack garbage in unused slots: in theirs the
list ends at the first number that is not an hour. At an hour that is in no list, the
frequency stays what it was, as in DPDK's host.

Source: lib/power's rte_power_guest_channel.h, struct rte_power_channel_packet;
examples/vm_power_manager/guest_cli/vm_power_cli_guest.c of DPDK 17.11 to 26.07.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

from orchestrator.channel.protocol import (
    GENERATION_456,
    HOURS,
    CoreType,
    PolicyKind,
    WorkloadLevel,
)
from orchestrator.policy.errors import PolicyError
from orchestrator.policy.kinds.branch_ratio import BranchRatio
from orchestrator.policy.kinds.time_of_day import Otherwise, TimeOfDay
from orchestrator.policy.kinds.traffic import Traffic
from orchestrator.policy.kinds.workload import FixedWorkload, Workload
from orchestrator.policy.subject import PolicyOrder
from orchestrator.policy.timetable import whole_hours

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from orchestrator.channel.protocol import PolicyPacket
    from orchestrator.policy.timetable import Window

SlotT = TypeVar("SlotT")

_WORKLOADS: Mapping[int, Workload] = {
    WorkloadLevel.HIGH: Workload.HIGH,
    WorkloadLevel.MEDIUM: Workload.MEDIUM,
    WorkloadLevel.LOW: Workload.LOW,
}
_MAC_BYTES = 6


def interpret_request(
    packet: PolicyPacket,
    generation: int,
    *,
    vcpus: Mapping[int, str | None],
    macs: Collection[str],
) -> PolicyOrder:
    """Turn a packet of a guest into a policy.

    Args:
        packet: as received, unchecked.
        generation: bytes of the guest's packets.
        vcpus: the guest's own vCPUs, each with the reason why its frequency cannot be
            set now; None: it can.
        macs: the addresses of the guest's own interfaces.

    Raises:
        PolicyError: the packet is invalid or names something of another domain.
    """
    if packet.core_type != CoreType.VIRTUAL:
        raise PolicyError("it is for physical CPUs")
    chosen = _read_vcpus(packet, vcpus)
    match packet.policy:
        case PolicyKind.TRAFFIC:
            return _read_traffic(packet, chosen, macs)
        case PolicyKind.TIME:
            return _read_times(packet, generation, chosen, macs)
        case PolicyKind.WORKLOAD:
            return _read_workload(packet, chosen)
        case PolicyKind.BRANCH_RATIO:
            return PolicyOrder(policy=BranchRatio(), vcpus=chosen)
        case _:
            raise PolicyError(f"invalid policy type {packet.policy}")


def _read_traffic(
    packet: PolicyPacket, vcpus: frozenset[int], own_macs: Collection[str]
) -> PolicyOrder:
    macs = _read_macs(packet, own_macs)
    if not macs:
        raise PolicyError("it names no MAC address")
    policy = Traffic(avg_pps=packet.avg_pps, max_pps=packet.max_pps)
    return PolicyOrder(policy=policy, vcpus=vcpus, macs=macs)


def _read_workload(packet: PolicyPacket, vcpus: frozenset[int]) -> PolicyOrder:
    workload = _WORKLOADS.get(packet.workload)
    if workload is None:
        raise PolicyError(f"invalid workload {packet.workload}")
    policy = FixedWorkload(workload=workload)
    return PolicyOrder(policy=policy, vcpus=vcpus)


def _read_vcpus(packet: PolicyPacket, own: Mapping[int, str | None]) -> frozenset[int]:
    chosen = _take("vCPUs", packet.vcpus, packet.num_vcpu)
    if not chosen:
        raise PolicyError("it names no vCPU")
    for vcpu in chosen:
        if vcpu not in own:
            raise PolicyError(f"the domain has no vCPU {vcpu}")
        if own[vcpu] is not None:
            raise PolicyError(f"vCPU {vcpu}: {own[vcpu]}")
    return frozenset(chosen)


def _read_macs(packet: PolicyPacket, own: Collection[str]) -> frozenset[str]:
    slots = _take("MAC addresses", packet.vfid, packet.nb_mac)
    watched = {slot[:_MAC_BYTES].hex(":") for slot in slots}
    for mac in sorted(watched):
        if mac not in own:
            raise PolicyError(f"the domain has no interface {mac}")
    return frozenset(watched)


def _read_times(
    packet: PolicyPacket,
    generation: int,
    vcpus: frozenset[int],
    own_macs: Collection[str],
) -> PolicyOrder:
    busy, quiet, by_traffic = (
        _read_hours(name, slots, generation)
        for name, slots in (
            ("busy", packet.busy_hours),
            ("quiet", packet.quiet_hours),
            ("traffic", packet.traffic_hours),
        )
    )
    if not (busy or quiet or by_traffic):
        raise PolicyError("it names no hour (hour 0 counts only before another hour)")
    # A guest without ports has none: its traffic is unknown then.
    macs = _read_macs(packet, own_macs) if by_traffic else frozenset()
    policy = TimeOfDay(
        busy=busy,
        quiet=quiet,
        traffic=by_traffic,
        otherwise=Otherwise.UNCHANGED,
        avg_pps=packet.avg_pps if macs else None,
        max_pps=packet.max_pps if macs else None,
    )
    return PolicyOrder(policy=policy, vcpus=vcpus, macs=macs)


def _read_hours(name: str, slots: Sequence[int], generation: int) -> tuple[Window, ...]:
    hours = _strip(slots)
    wrong = [place for place, hour in enumerate(hours) if not 0 <= hour < HOURS]
    if wrong and generation != GENERATION_456.size_bytes:
        raise PolicyError(f"invalid {name} hour {hours[wrong[0]]}")
    return whole_hours(_strip(hours[: wrong[0]]) if wrong else hours)


def _strip(slots: Sequence[int]) -> Sequence[int]:
    """Remove the zeros at the end: slots that are not used."""
    used = len(slots)
    while used and not slots[used - 1]:
        used -= 1
    return slots[:used]


def _take(what: str, slots: Sequence[SlotT], count: int) -> Sequence[SlotT]:
    if not 0 <= count <= len(slots):
        raise PolicyError(f"invalid number of {what}: {count}, at most {len(slots)}")
    return slots[:count]
