"""A guest's PKT_POLICY as a policy of ours, or the reason why not; pure.

Nothing that the packet says is used before it was checked: counts against the arrays,
vCPUs and MAC addresses against the guest's own domain, hours and levels against their
ranges. What a policy does not use is not looked at, because guests leave garbage there.

Hours: a packet has 24 slots, and 0 in those that are not used, so hour 0 counts only
where an hour other than 0 follows it (`0,1,2`); on its own it cannot be said. DPDK
17.11 to 18.05, whose packets have 456 bytes, leaves stack garbage in unused slots: in
theirs the list ends at the first number that is no hour.

Source: lib/power's rte_power_guest_channel.h, struct rte_power_channel_packet;
examples/vm_power_manager/guest_cli/vm_power_cli_guest.c of DPDK 17.11 to 26.07.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, TypeVar

from orchestrator.policy.branch_ratio import BranchRatio
from orchestrator.policy.refusal import PolicyError
from orchestrator.policy.tenant import PolicyOrder
from orchestrator.policy.time_of_day import TimeOfDay
from orchestrator.policy.traffic import Traffic
from orchestrator.policy.workload import FixedWorkload
from orchestrator.policy_rule import Workload
from orchestrator.timetable import HOURS, whole_hours

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping, Sequence

    from orchestrator.timetable import Window

SlotT = TypeVar("SlotT")

TRAFFIC, TIME, WORKLOAD, BRANCH_RATIO = range(4)
"""Numbers of the policies in a packet."""
_WORKLOADS = (Workload.HIGH, Workload.MEDIUM, Workload.LOW)
MAC_BYTES = 6
_GARBAGE_GENERATION = 456


class PolicyRequest(NamedTuple):
    """The fields of a PKT_POLICY as they came, unchecked."""

    policy: int
    vcpus: Sequence[int]
    """All 8 slots."""
    vcpu_count: int
    macs: Sequence[bytes] = ()
    """All 10 slots; the first six bytes of each are the address."""
    mac_count: int = 0
    avg_pps: int = 0
    max_pps: int = 0
    busy_hours: Sequence[int] = ()
    """All 24 slots; so too the other hours."""
    quiet_hours: Sequence[int] = ()
    traffic_hours: Sequence[int] = ()
    workload: int = 0
    is_physical: bool = False
    generation: int = 464
    """Bytes of the sender's packets."""


def interpret_request(
    request: PolicyRequest,
    *,
    vcpus: Mapping[int, str | None],
    macs: Collection[str],
) -> PolicyOrder:
    """Make a policy of what a guest sent.

    Args:
        request: the packet's fields.
        vcpus: the guest's own vCPUs, each with the reason why its clock cannot be set
            now; None: it can.
        macs: the addresses of the guest's own interfaces.

    Raises:
        PolicyError: with the reason.
    """
    if request.is_physical:
        raise PolicyError("it names physical CPUs")
    read = _READERS.get(request.policy)
    if read is None:
        raise PolicyError(f"policy {request.policy} is none")
    return read(request, _read_vcpus(request, vcpus), macs)


def _read_traffic(
    request: PolicyRequest, vcpus: frozenset[int], own_macs: Collection[str]
) -> PolicyOrder:
    macs = _read_macs(request, own_macs)
    if not macs:
        raise PolicyError("it names no MAC address to watch")
    return PolicyOrder(policy=_traffic(request), vcpus=vcpus, macs=macs)


def _read_workload(
    request: PolicyRequest, vcpus: frozenset[int], _own_macs: Collection[str]
) -> PolicyOrder:
    if not 0 <= request.workload < len(_WORKLOADS):
        raise PolicyError(f"workload {request.workload} is none")
    policy = FixedWorkload(workload=_WORKLOADS[request.workload])
    return PolicyOrder(policy=policy, vcpus=vcpus)


def _read_branch_ratio(
    _request: PolicyRequest, vcpus: frozenset[int], _own_macs: Collection[str]
) -> PolicyOrder:
    return PolicyOrder(policy=BranchRatio(), vcpus=vcpus)


def _traffic(request: PolicyRequest) -> Traffic:
    return Traffic(avg_pps=request.avg_pps, max_pps=request.max_pps)


def _read_vcpus(
    request: PolicyRequest, own: Mapping[int, str | None]
) -> frozenset[int]:
    chosen = _take("vCPUs", request.vcpus, request.vcpu_count)
    if not chosen:
        raise PolicyError("it names no vCPU")
    for vcpu in chosen:
        if vcpu not in own:
            raise PolicyError(f"the domain has no vCPU {vcpu}")
        if own[vcpu] is not None:
            raise PolicyError(f"vCPU {vcpu}: {own[vcpu]}")
    return frozenset(chosen)


def _read_macs(request: PolicyRequest, own: Collection[str]) -> frozenset[str]:
    slots = _take("MAC addresses", request.macs, request.mac_count)
    watched = {slot[:MAC_BYTES].hex(":") for slot in slots}
    for mac in sorted(watched):
        if mac not in own:
            raise PolicyError(f"the domain has no interface {mac}")
    return frozenset(watched)


def _read_times(
    request: PolicyRequest, vcpus: frozenset[int], own_macs: Collection[str]
) -> PolicyOrder:
    busy, quiet, by_traffic = (
        _read_hours(name, slots, request.generation)
        for name, slots in (
            ("busy", request.busy_hours),
            ("quiet", request.quiet_hours),
            ("traffic", request.traffic_hours),
        )
    )
    if not (busy or quiet or by_traffic):
        raise PolicyError("it names no hour (hour 0 needs another one after it)")
    # A guest without ports has none: then those hours are as unknown traffic.
    macs = _read_macs(request, own_macs) if by_traffic else frozenset()
    policy = TimeOfDay(
        busy=busy,
        quiet=quiet,
        by_traffic=by_traffic,
        traffic=_traffic(request) if macs else None,
    )
    return PolicyOrder(policy=policy, vcpus=vcpus, macs=macs)


def _read_hours(name: str, slots: Sequence[int], generation: int) -> tuple[Window, ...]:
    if len(slots) > HOURS:
        raise PolicyError(f"{len(slots)} {name} hours")
    hours = _strip(slots)
    wrong = [place for place, hour in enumerate(hours) if not 0 <= hour < HOURS]
    if wrong and generation != _GARBAGE_GENERATION:
        raise PolicyError(f"{hours[wrong[0]]} is no {name} hour")
    return whole_hours(_strip(hours[: wrong[0]]) if wrong else hours)


def _strip(slots: Sequence[int]) -> Sequence[int]:
    """Leave out the zeros at the end: slots that are not used."""
    used = len(slots)
    while used and not slots[used - 1]:
        used -= 1
    return slots[:used]


def _take(what: str, slots: Sequence[SlotT], count: int) -> Sequence[SlotT]:
    if not 0 <= count <= len(slots):
        raise PolicyError(f"{count} {what} in {len(slots)} slots")
    return slots[:count]


_READERS: Mapping[
    int, Callable[[PolicyRequest, frozenset[int], Collection[str]], PolicyOrder]
] = {
    TRAFFIC: _read_traffic,
    TIME: _read_times,
    WORKLOAD: _read_workload,
    BRANCH_RATIO: _read_branch_ratio,
}
