# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.channel.protocol import (
    GENERATION_16,
    GENERATION_456,
    GENERATION_460,
    GENERATION_464,
    GENERATIONS,
    HOURS,
    MAX_MACS,
    MAX_VCPUS,
    Command,
    CoreType,
    Generation,
    PolicyKind,
    PolicyPacket,
    WorkloadLevel,
    decode_policy,
    encode_policy,
)
from orchestrator.errors import PacketError
from tests.channel.vectors import read_vectors

WITH_POLICIES = [GENERATION_456, GENERATION_460, GENERATION_464]
KINDS = {
    "TIME_guestcli_defaults": PolicyKind.TIME,
    "TRAFFIC": PolicyKind.TRAFFIC,
    "WORKLOAD_LOW": PolicyKind.WORKLOAD,
    "BRANCH_RATIO": PolicyKind.BRANCH_RATIO,
}

whole = st.integers(-(2**31), 2**31 - 1)
natural = st.integers(0, 2**32 - 1)
octet = st.integers(0, 255)
hours = st.tuples(*[whole] * HOURS)
packets = st.builds(
    PolicyPacket,
    resource_id=st.integers(0, 2**64 - 1),
    unit=natural,
    command=natural,
    vm_name=st.binary(min_size=32, max_size=32),
    vfid=st.tuples(*[st.binary(min_size=8, max_size=8)] * MAX_MACS),
    nb_mac=whole,
    min_pps=natural,
    avg_pps=natural,
    max_pps=natural,
    vcpus=st.tuples(*[octet] * MAX_VCPUS),
    num_vcpu=octet,
    busy_hours=hours,
    quiet_hours=hours,
    traffic_hours=hours,
    core_type=octet,
    workload=whole,
    policy=whole,
    turbo=octet,
)


def _slots(*values: int) -> tuple[int, ...]:
    return values + (0,) * (HOURS - len(values))


@pytest.mark.parametrize(
    ("generation", "name"),
    [
        (g, f"{n}.PKT_POLICY_{kind}")
        for (n, g), kind in product(
            (("G2", GENERATION_456), ("G3", GENERATION_464), ("G4", GENERATION_464)),
            KINDS,
        )
    ],
)
def test_what_dpdk_s_guest_command_line_sends_is_read_and_written_the_same(
    generation: Generation, name: str
) -> None:
    packet = read_vectors()[name]
    read = decode_policy(packet, generation)
    assert read == PolicyPacket(
        vm_name=b"ubuntu2".ljust(32, b"\0"),
        vfid=(bytes.fromhex("5254001234560000"), *[bytes(8)] * 9),
        nb_mac=1,
        min_pps=96_000,
        avg_pps=1_800_000,
        max_pps=2_000_000,
        vcpus=(0, 1, 0, 0, 0, 0, 0, 0),
        num_vcpu=2,
        busy_hours=_slots(3, 4, 5),
        quiet_hours=_slots(11, 12, 13),
        traffic_hours=_slots(8, 10),
        workload=WorkloadLevel.LOW,
        policy=KINDS[name.partition("POLICY_")[2]],
    )
    assert encode_policy(read, generation) == packet


@pytest.mark.parametrize("generation", WITH_POLICIES)
@given(packet=packets)
def test_what_was_encoded_decodes_to_itself(
    generation: Generation, packet: PolicyPacket
) -> None:
    if not generation.has_core_type:
        packet = packet._replace(core_type=CoreType.VIRTUAL)
    data = encode_policy(packet, generation)
    assert len(data) == generation.size_bytes
    assert decode_policy(data, generation) == packet


@pytest.mark.fuzz
@pytest.mark.parametrize("generation", GENERATIONS.values())
@given(data=st.binary(max_size=600) | st.sampled_from([456, 460, 464]).map(bytes))
def test_no_bytes_raise_anything_but_packet_error(
    generation: Generation, data: bytes
) -> None:
    if generation.policy is not None and len(data) == generation.size_bytes:
        assert decode_policy(data, generation).num_vcpu >= 0
    else:
        with pytest.raises(PacketError):
            decode_policy(data, generation)


def test_the_oldest_generation_has_no_policies() -> None:
    with pytest.raises(PacketError, match="generation 16 has no policies"):
        encode_policy(PolicyPacket(), GENERATION_16)


def test_a_field_that_does_not_fit_is_named_an_error() -> None:
    with pytest.raises(PacketError, match="does not fit"):
        encode_policy(PolicyPacket(num_vcpu=256))


def test_s17_a_name_is_cut_where_a_packet_has_no_more_room() -> None:
    long, short = PolicyPacket(vm_name=b"x" * 1000), PolicyPacket(vm_name=b"x" * 32)
    assert encode_policy(long) == encode_policy(short)
    assert decode_policy(encode_policy(long)).vm_name == b"x" * 32


def test_a_packet_of_32_bits_lacks_only_the_tail() -> None:
    packet = encode_policy(PolicyPacket(policy=PolicyKind.WORKLOAD, turbo=1))
    short = encode_policy(
        PolicyPacket(policy=PolicyKind.WORKLOAD, turbo=1), GENERATION_460
    )
    assert short == packet[:460]


def test_the_command_is_set_policy_by_default() -> None:
    vector = read_vectors()["G4.PKT_POLICY_REMOVE"]
    name = b"ubuntu2"
    removal = PolicyPacket(command=Command.PKT_POLICY_REMOVE, vm_name=name)
    assert encode_policy(removal) == vector
