# SPDX-License-Identifier: Apache-2.0
"""PKT_POLICY: what guests may send, and what is refused."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.channel.protocol import PolicyPacket
from orchestrator.policy.errors import PolicyError
from orchestrator.policy.guest_request import interpret_request
from orchestrator.policy.kinds.branch_ratio import BranchRatio
from orchestrator.policy.kinds.time_of_day import Otherwise, TimeOfDay
from orchestrator.policy.kinds.traffic import Traffic
from orchestrator.policy.kinds.workload import FixedWorkload, Workload
from orchestrator.policy.subject import PolicyOrder
from orchestrator.policy.timetable import whole_hours

MAC = "52:54:00:12:34:56"
OWN: dict[int, str | None] = {0: None, 1: None, 2: "floats over CPUs 0-3", 9: None}
TRAFFIC = Traffic(avg_pps=1_800_000, max_pps=2_000_000)


def slots(*hours: int) -> tuple[int, ...]:
    return (*hours, *[0] * (24 - len(hours)))


def sent(policy: int, **changed: Any) -> PolicyPacket:
    """What guest_cli sends by default, with all slots."""
    fields: dict[str, Any] = {
        "vcpus": (0, 1, 0, 0, 0, 0, 0, 0),
        "num_vcpu": 2,
        # The last two bytes of a slot are garbage.
        "vfid": (bytes.fromhex("525400123456a5a5"), *[bytes(8)] * 9),
        "nb_mac": 1,
        "avg_pps": 1_800_000,
        "max_pps": 2_000_000,
        "busy_hours": slots(3, 4, 5),
        "quiet_hours": slots(11, 12, 13),
        "traffic_hours": slots(8, 10),
    }
    return PolicyPacket(policy=policy, **{**fields, **changed})


def interpret(packet: PolicyPacket, generation: int = 464) -> PolicyOrder:
    return interpret_request(packet, generation, vcpus=OWN, macs=[MAC])


BOTH = frozenset({0, 1})


def test_guest_cli_s_traffic_policy_is_understood() -> None:
    macs = frozenset({MAC})
    assert interpret(sent(0)) == PolicyOrder(policy=TRAFFIC, vcpus=BOTH, macs=macs)


def test_guest_cli_s_time_policy_is_understood() -> None:
    policy = TimeOfDay(
        busy=whole_hours([3, 4, 5]),
        quiet=whole_hours([11, 12, 13]),
        traffic=whole_hours([8, 10]),
        otherwise=Otherwise.UNCHANGED,
        avg_pps=1_800_000,
        max_pps=2_000_000,
    )
    expected = PolicyOrder(policy=policy, vcpus=BOTH, macs=frozenset({MAC}))
    assert interpret(sent(1)) == expected


@pytest.mark.parametrize(("number", "workload"), list(enumerate(Workload)))
def test_workloads_are_understood(number: int, workload: Workload) -> None:
    order = interpret(sent(2, workload=number))
    assert order == PolicyOrder(policy=FixedWorkload(workload=workload), vcpus=BOTH)


def test_branch_ratio_is_understood() -> None:
    assert interpret(sent(3)) == PolicyOrder(policy=BranchRatio(), vcpus=BOTH)


@pytest.mark.parametrize("policy", [2, 3])
def test_what_a_policy_does_not_use_may_be_garbage(policy: int) -> None:
    garbage = {"nb_mac": -7, "busy_hours": (99,) * 24}
    assert interpret(sent(policy, **garbage)).vcpus == BOTH


@pytest.mark.parametrize(
    ("policy", "changed", "reason"),
    [
        (0, {"nb_mac": 0}, "no MAC address"),
        (0, {"nb_mac": 11}, "number of MAC addresses: 11, at most 10"),
        (0, {"nb_mac": -1}, "number of MAC addresses: -1"),
        (0, {"nb_mac": 2}, "no interface 00:00:00:00:00:00"),
        (1, {"nb_mac": 2}, "no interface 00:00:00:00:00:00"),
        (1, {"busy_hours": slots(24)}, "invalid busy hour 24"),
        (1, {"quiet_hours": slots(3, -1)}, "invalid quiet hour -1"),
        (1, {"traffic_hours": slots(0x7FFF_FFFF)}, "invalid traffic hour 2147483647"),
        (
            1,
            dict.fromkeys(["busy_hours", "quiet_hours", "traffic_hours"], slots()),
            "names no hour",
        ),
        (2, {"workload": 3}, "invalid workload 3"),
        (2, {"workload": -1}, "invalid workload -1"),
        (4, {}, "invalid policy type 4"),
        (-1, {}, "invalid policy type -1"),
        (2, {"num_vcpu": 0}, "names no vCPU"),
        (2, {"num_vcpu": 9}, "number of vCPUs: 9, at most 8"),
        (2, {"num_vcpu": 255}, "number of vCPUs: 255"),
        (2, {"vcpus": (0, 7, 0, 0, 0, 0, 0, 0)}, "no vCPU 7"),
        (2, {"vcpus": (0, 255, 0, 0, 0, 0, 0, 0)}, "no vCPU 255"),
        (2, {"vcpus": (2,) * 8}, "vCPU 2: floats over"),
        (2, {"core_type": 1}, "physical"),
    ],
)
def test_s4_s5_s6_what_cannot_be_is_refused_with_its_reason(
    policy: int, changed: dict[str, Any], reason: str
) -> None:
    with pytest.raises(PolicyError, match=reason):
        interpret(sent(policy, **changed))


def busy(hours: tuple[int, ...], generation: int = 464) -> object:
    order = interpret(sent(1, busy_hours=hours), generation)
    assert isinstance(order.policy, TimeOfDay)
    return order.policy.busy


def test_f17_hour_zero_counts_only_where_another_hour_follows() -> None:
    assert busy(slots(0, 1, 2)) == whole_hours([0, 1, 2])
    assert busy(tuple(range(24))) == whole_hours(range(24))
    assert busy(slots(23, 0)) == whole_hours([23])
    assert busy(slots(0)) == ()


def test_garbage_ends_the_hours_of_the_guests_that_send_it() -> None:
    garbage = (3, 4, 5, 0, 0x7F31, -5, 12, 0, *[0] * 16)
    assert busy(garbage, generation=456) == whole_hours([3, 4, 5])
    with pytest.raises(PolicyError, match="invalid busy hour 32561"):
        busy(garbage)


def test_traffic_hours_without_interfaces_are_as_unknown_traffic() -> None:
    order = interpret(sent(1, nb_mac=0))
    assert isinstance(order.policy, TimeOfDay)
    assert (order.policy.traffic, order.policy.avg_pps) == (whole_hours([8, 10]), None)
    assert not order.policy.needs_sample


_numbers = st.integers(-(2**31), 2**31 - 1)
_hours = st.lists(_numbers | st.integers(0, 23), min_size=24, max_size=24)


@pytest.mark.fuzz
@given(
    packet=st.builds(
        PolicyPacket,
        policy=_numbers | st.integers(0, 3),
        vcpus=st.binary(min_size=8, max_size=8),
        num_vcpu=st.integers(0, 255),
        vfid=st.lists(st.binary(min_size=8, max_size=8), min_size=10, max_size=10),
        nb_mac=_numbers | st.integers(0, 10),
        busy_hours=_hours,
        quiet_hours=_hours,
        traffic_hours=_hours,
        workload=_numbers | st.integers(0, 2),
        core_type=st.integers(0, 1),
    ),
    generation=st.sampled_from([456, 460, 464]),
)
def test_s5_any_packet_is_a_policy_for_own_vcpus_or_is_refused(
    packet: PolicyPacket, generation: int
) -> None:
    try:
        order = interpret(packet, generation)
    except PolicyError:
        return
    assert order.vcpus is not None
    assert order.vcpus <= {0, 1, 9}
