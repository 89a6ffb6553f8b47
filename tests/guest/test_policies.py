# SPDX-License-Identifier: Apache-2.0
"""Policies of `policy send`, as the host decodes them."""

from __future__ import annotations

import pytest

from orchestrator.channel.protocol import (
    PolicyKind,
    PolicyPacket,
    WorkloadLevel,
    decode_policy,
    encode_policy,
)
from orchestrator.errors import PacketError
from orchestrator.guest.arguments import build_parser
from orchestrator.guest.commands import build_policy
from orchestrator.guest.policies import new_policy, set_traffic

MAC = "52:54:00:12:34:56"


def decode_sent(*words: str) -> PolicyPacket:
    options = build_parser().parse_args(["policy", "send", *words])
    return decode_policy(encode_policy(build_policy(options)))


def test_a_workload_policy_names_its_vcpus() -> None:
    policy = decode_sent("workload", "medium", "--vcpus", "1,4-6")
    assert policy.policy == PolicyKind.WORKLOAD
    assert policy.workload == WorkloadLevel.MEDIUM
    assert policy.vcpus[: policy.num_vcpu] == (1, 4, 5, 6)
    assert policy.vm_name == bytes(32)


def test_a_traffic_policy_names_its_interfaces() -> None:
    words = ("--mac", MAC, "--mac", "52:54:00:00:00:01")
    policy = decode_sent(
        "traffic", "--vcpus", "0", *words, "--avg", "1000", "--max", "5000"
    )
    assert policy.policy == PolicyKind.TRAFFIC
    assert policy.nb_mac == 2
    assert [slot[:6].hex(":") for slot in policy.vfid[:2]] == [MAC, "52:54:00:00:00:01"]
    assert (policy.avg_pps, policy.max_pps) == (1000, 5000)


def test_unused_hour_slots_do_not_mean_hour_0() -> None:
    policy = decode_sent("time", "--vcpus", "0", "--busy", "8-10", "--quiet", "0,23")
    assert policy.policy == PolicyKind.TIME
    assert policy.busy_hours == (8, 9, *[10] * 22)
    assert policy.quiet_hours == (0, *[23] * 23)
    assert policy.traffic_hours == (0,) * 24


def test_a_branch_ratio_policy_needs_only_vcpus() -> None:
    policy = decode_sent("branch-ratio", "--vcpus", "2")
    assert policy.policy == PolicyKind.BRANCH_RATIO
    assert policy.vcpus[: policy.num_vcpu] == (2,)


def test_a_policy_for_dpdks_host_holds_the_name_of_the_vm() -> None:
    parser = build_parser()
    words = ["--vm-name", "dpdk-0", "policy", "send", "branch-ratio", "--vcpus", "0"]
    policy = build_policy(parser.parse_args(words))
    assert decode_policy(encode_policy(policy)).vm_name == b"dpdk-0".ljust(32, b"\0")


@pytest.mark.parametrize("vcpus", [(), tuple(range(9)), (256,)])
def test_vcpus_that_a_packet_cannot_name_are_an_error(vcpus: tuple[int, ...]) -> None:
    with pytest.raises(PacketError, match="vCPU"):
        new_policy(PolicyKind.TRAFFIC, vcpus)


def test_too_many_addresses_for_a_packet_are_an_error() -> None:
    with pytest.raises(PacketError, match="too many MAC addresses: 11"):
        set_traffic(new_policy(PolicyKind.TRAFFIC, (0,)), [bytes(6)] * 11, 1, 2)
