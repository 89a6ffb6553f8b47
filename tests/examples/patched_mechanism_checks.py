# SPDX-License-Identifier: Apache-2.0
"""What `mechanism.patch` adds; run by `test_mechanism` in a patched copy."""

from __future__ import annotations

import os
from contextlib import closing
from typing import TYPE_CHECKING

import pytest

from orchestrator.limits import Limits
from orchestrator.monitor.arbiter import Group
from orchestrator.monitor.process.clock import Clock
from orchestrator.power.held_groups import HeldGroups
from orchestrator.power.journal import Journal
from orchestrator.power.mechanisms.registry import find_mechanism
from orchestrator.power.simulated import lay_out
from orchestrator.power.simulated_drivers import SIMULATED_DRIVERS
from orchestrator.power.sysfs import CpuTree
from orchestrator.power.topology import read_topology
from tests.power.conftest import read_all

if TYPE_CHECKING:
    from pathlib import Path

LOW_KHZ = 1_200_000


@pytest.fixture
def tree(tmp_path: Path) -> CpuTree:
    lay_out(tmp_path / "sys", cpus=1, driver="intel_pstate")
    return CpuTree(tmp_path / "sys")


def test_it_is_chosen_by_what_the_kernel_offers(tmp_path: Path) -> None:
    chosen: dict[str, set[str]] = {}
    for driver in SIMULATED_DRIVERS:
        lay_out(tmp_path / driver, cpus=1, driver=driver)
        (group,) = read_topology(CpuTree(tmp_path / driver)).groups
        chosen.setdefault(group.mechanism, set()).add(driver)
    assert chosen["ceiling"] == {"intel_pstate"}
    assert chosen["limits"] == {"intel_pstate-no-hwp", "amd-pstate-epp"}


def test_held_limits_leave_its_groups_alone(tree: CpuTree, tmp_path: Path) -> None:
    journal = Journal(tmp_path / "restore.json", tree)
    groups = HeldGroups(tree, journal, fallback_governor="schedutil")
    assert groups.prepare(read_topology(tree), [0]) == {}
    assert groups.is_set_by_limits(0)
    assert groups.restore_all() == []


def test_the_monitor_sets_and_restores_its_frequency(tree: CpuTree) -> None:
    before = read_all(tree.root)
    (group,) = read_topology(tree).groups
    mechanism = find_mechanism(group.mechanism)
    clock = Clock(Group(group.number, group.steps), 0)
    with closing(mechanism.prepare(tree, group)) as prepared:
        handed = map(os.dup, (*prepared.writer.fds, *prepared.original_fds))
        originals = [(it.value, it.taken_value) for it in prepared.originals]
        assert clock.take_over(group.mechanism, list(handed), originals)
        mechanism.take(prepared)
    assert clock.write(LOW_KHZ) == 0
    limits = Limits.of(
        *(tree.read_khz(group.path(f"scaling_{end}_freq")) for end in ("min", "max"))
    )
    assert limits == Limits(group.steps.lowest_khz, LOW_KHZ)
    clock.restore()
    clock.close()
    assert read_all(tree.root) == before
