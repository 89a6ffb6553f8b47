# SPDX-License-Identifier: Apache-2.0
"""Comparing two readings."""

from __future__ import annotations

import pytest

from orchestrator.sampling.branches import (
    BranchCount,
    BranchCounter,
    BranchReading,
    branch_count,
)
from orchestrator.sampling.packets import PacketReading, packets_per_s
from orchestrator.sampling.vcpu_times import VCpuTimeReading, utilisation


@pytest.mark.parametrize(
    ("old", "new", "rate"),
    [
        (
            PacketReading(1.0, {"a": 5, "b": 1}),
            PacketReading(1.5, {"a": 8, "b": 1}),
            6,
        ),
        (PacketReading(1.0, {"a": 5}), PacketReading(2.0, {"a": 4}), None),
        (PacketReading(1.0, {"a": 5}), PacketReading(1.0, {"a": 6}), None),
        (PacketReading(1.0, {"a": 5}), PacketReading(2.0, {"a": 5, "b": 9}), None),
        (PacketReading(1.0, {}), PacketReading(2.0, {}), None),
    ],
)
def test_a_rate_is_of_the_same_interfaces_going_forward(
    old: PacketReading, new: PacketReading, rate: float | None
) -> None:
    assert packets_per_s(old, new) == rate


@pytest.mark.parametrize(
    ("old", "new", "load"),
    [
        (
            VCpuTimeReading(1.0, {0: 5}),
            VCpuTimeReading(2.0, {0: 250_000_005}),
            0.25,
        ),
        (VCpuTimeReading(1.0, {0: 5}), VCpuTimeReading(2.0, {0: 5}), 0.0),
        (VCpuTimeReading(1.0, {0: 0}), VCpuTimeReading(2.0, {0: 2 * 10**9}), 1.0),
        (VCpuTimeReading(1.0, {0: 5}), VCpuTimeReading(2.0, {0: 4}), None),
        (VCpuTimeReading(2.0, {0: 5}), VCpuTimeReading(2.0, {0: 6}), None),
        (VCpuTimeReading(1.0, {1: 5}), VCpuTimeReading(2.0, {0: 6}), None),
        (VCpuTimeReading(1.0, {0: 5}), VCpuTimeReading(2.0, {1: 6}), None),
    ],
)
def test_utilisation_is_a_part_of_the_time(
    old: VCpuTimeReading, new: VCpuTimeReading, load: float | None
) -> None:
    assert utilisation(old, new, 0) == load


@pytest.mark.parametrize(
    ("now", "count"),
    [
        (
            {2: BranchCounter(30, 3, 10**9), 3: BranchCounter(12, 1, 2 * 10**9)},
            BranchCount(42, 4, 2.0),
        ),
        ({2: BranchCounter(30, 3, 10**9)}, None),
        ({2: BranchCounter(30, 3, 0), 3: BranchCounter(1, 1, 5)}, None),
        ({2: BranchCounter(-1, 3, 7), 3: BranchCounter(1, 1, 5)}, None),
    ],
)
def test_branches_of_a_vcpu_are_those_of_all_its_cpus(
    now: dict[int, BranchCounter], count: BranchCount | None
) -> None:
    zero = BranchCounter(0, 0, 0)
    old = BranchReading(1.0, {2: zero, 3: zero})
    assert branch_count(old, BranchReading(2.0, now), [2, 3]) == count


def test_counters_that_did_not_count_say_nothing() -> None:
    same = BranchReading(1.0, {2: BranchCounter(9, 1, 7)})
    assert branch_count(same, same, [2]) is None
    assert branch_count(same, same, []) is None
