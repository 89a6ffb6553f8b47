# SPDX-License-Identifier: Apache-2.0
"""Topology of complete and of damaged trees."""

from __future__ import annotations

import errno
import shutil
from typing import TYPE_CHECKING

import pytest

from orchestrator.errors import SysfsError
from orchestrator.power.simulated import lay_out, switch_cpu
from orchestrator.power.sysfs import CPU_DIR, CpuTree
from orchestrator.power.topology import (
    NO_CPUFREQ,
    OFFLINE,
    read_current_khz,
    read_governor,
    read_outline,
    read_topology,
)
from orchestrator.values.domain import PCpu

if TYPE_CHECKING:
    from pathlib import Path


def policy(root: Path, number: int) -> Path:
    return root / CPU_DIR / "cpufreq" / f"policy{number}"


def test_cpus_that_share_a_frequency_are_one_group(tmp_path: Path) -> None:
    lay_out(tmp_path / "sys", cpus=7, shared=3)
    topology = read_topology(CpuTree(tmp_path / "sys"))
    assert [(g.number, sorted(g.pcpus)) for g in topology.groups] == [
        (0, [0, 1, 2]),
        (3, [3, 4, 5]),
        (6, [6]),
    ]
    assert topology.group_of(PCpu(4)) == topology.group(3)
    assert topology.group_of(PCpu(7)) is None
    assert topology.group(4) is None
    assert topology.unmanaged == {}


def test_a_group_has_the_values_of_its_files(tree: CpuTree) -> None:
    policy(tree.root, 2).joinpath("scaling_max_freq").write_text("2400000\n")
    group = read_topology(tree).group(2)
    assert group is not None
    assert (group.driver, group.governor) == ("acpi-cpufreq", "schedutil")
    assert (group.min_khz, group.max_khz) == (1_200_000, 2_400_000)
    assert group.steps.has_turbo
    assert group.is_simulated
    assert read_current_khz(tree, group) == 3_000_000
    assert read_governor(tree, group) == "schedutil"


def test_unreadable_bounds_are_those_of_the_hardware(tree: CpuTree) -> None:
    for name in ("scaling_min_freq", "cpuinfo_min_freq", "scaling_max_freq"):
        policy(tree.root, 0).joinpath(name).unlink()
    policy(tree.root, 0).joinpath("cpuinfo_max_freq").write_text("3000000\n")
    group = read_topology(tree).groups[0]
    assert (group.min_khz, group.max_khz) == (1_200_000, 3_000_000)


def test_a_tree_without_the_marker_is_not_simulated(root: Path) -> None:
    (root / "vmpower-simulated").unlink()
    assert not read_topology(CpuTree(root)).groups[0].is_simulated


def test_a_tree_without_cpufreq_has_only_unmanaged_cpus(root: Path) -> None:
    shutil.rmtree(root / CPU_DIR / "cpufreq")
    topology = read_topology(CpuTree(root))
    assert topology.groups == ()
    assert topology.unmanaged == dict.fromkeys(range(4), NO_CPUFREQ)


def test_an_offline_cpu_is_unmanaged_and_its_neighbour_is_not(tmp_path: Path) -> None:
    root = tmp_path / "sys"
    lay_out(root, cpus=4, shared=2)
    switch_cpu(root, 1, is_online=False)
    topology = read_topology(CpuTree(root))
    assert topology.online == {0, 2, 3}
    assert topology.unmanaged == {1: OFFLINE}
    assert [sorted(g.pcpus) for g in topology.groups] == [[0], [2, 3]]
    switch_cpu(root, 1, is_online=True)
    assert sorted(read_topology(CpuTree(root)).groups[0].pcpus) == [0, 1]


def test_a_group_with_all_cpus_offline_is_not_listed(root: Path) -> None:
    switch_cpu(root, 3, is_online=False)
    topology = read_topology(CpuTree(root))
    assert [group.number for group in topology.groups] == [0, 1, 2]
    assert topology.unmanaged == {3: OFFLINE}


def test_a_stale_affected_cpus_does_not_bring_a_cpu_online(root: Path) -> None:
    (root / CPU_DIR / "online").write_text("0-2\n")
    topology = read_topology(CpuTree(root))
    assert topology.group_of(PCpu(3)) is None
    assert topology.unmanaged == {3: OFFLINE}


@pytest.mark.parametrize(
    ("name", "content", "word"),
    [
        ("scaling_driver", None, "scaling_driver: ENOENT"),
        ("scaling_available_governors", None, "scaling_available_governors: ENOENT"),
        ("scaling_available_frequencies", "\n", "no frequency"),
        ("scaling_available_frequencies", "fast slow\n", "fast"),
        ("scaling_governor", None, "scaling_governor: ENOENT"),
        ("scaling_governor", "a\0b\n", "scaling_governor: EILSEQ"),
    ],
)
def test_an_unusable_cpu_has_a_reason_and_the_rest_is_used(
    root: Path, name: str, content: str | None, word: str
) -> None:
    file = policy(root, 1) / name
    if content is None:
        file.unlink()
    else:
        file.write_text(content)
    topology = read_topology(CpuTree(root))
    assert [group.number for group in topology.groups] == [0, 2, 3]
    assert list(topology.unmanaged) == [1]
    assert word in topology.unmanaged[PCpu(1)]


@pytest.mark.parametrize(
    ("governors", "mechanism"),
    [
        ("conservative userspace powersave performance schedutil", "setspeed"),
        # The kernel loads the governor's module.
        ("performance schedutil", "setspeed"),
        ("performance powersave", "limits"),
        ("powersave performance ", "limits"),
    ],
)
def test_the_mechanism_is_what_the_kernel_offers_whatever_the_driver(
    root: Path, governors: str, mechanism: str
) -> None:
    file = policy(root, 1) / "scaling_available_governors"
    file.write_text(f"{governors}\n")
    (policy(root, 1) / "scaling_driver").write_text("unheard-of\n")
    group = read_topology(CpuTree(root)).group(1)
    assert group is not None
    assert (group.driver, group.mechanism) == ("unheard-of", mechanism)


def test_a_policy_that_the_kernel_created_again_has_another_identity(
    root: Path,
) -> None:
    before, outline = read_topology(CpuTree(root)), read_outline(CpuTree(root))
    policy(root, 1).rename(root / "old")
    shutil.copytree(root / "old", policy(root, 1), symlinks=True)
    after = read_topology(CpuTree(root))
    changed = [a for a, b in zip(before.groups, after.groups, strict=True) if a != b]
    assert [group.number for group in changed] == [1]
    assert read_outline(CpuTree(root)) != outline


def test_directories_with_other_names_are_ignored(root: Path) -> None:
    for name in ("policyX", "policy", "policy¹", "policy-1"):
        (root / CPU_DIR / "cpufreq" / name).mkdir()
    assert len(read_topology(CpuTree(root)).groups) == 4


def test_a_missing_present_file_is_tolerated(root: Path) -> None:
    (root / CPU_DIR / "present").unlink()
    assert len(read_topology(CpuTree(root)).groups) == 4


def test_a_directory_that_is_not_a_cpu_tree_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(SysfsError) as caught:
        read_topology(CpuTree(tmp_path))
    assert caught.value.errno == errno.ENOENT
    assert caught.value.path.endswith("devices/system/cpu/online")


def test_an_invalid_online_file_is_an_error(root: Path) -> None:
    (root / CPU_DIR / "online").write_text("all of them\n")
    with pytest.raises(SysfsError) as caught:
        CpuTree(root).online()
    assert caught.value.errno == errno.EINVAL


def test_the_host_s_own_tree_can_be_read() -> None:
    # On any machine: every online CPU is managed or has a reason.
    topology = read_topology(CpuTree.host())
    grouped = {pcpu for group in topology.groups for pcpu in group.pcpus}
    assert topology.online <= grouped | topology.unmanaged.keys()


def test_the_outline_shows_changes_of_cpus_and_policies(tree: CpuTree) -> None:
    before = read_outline(tree)
    policy(tree.root, 1).joinpath("scaling_governor").write_text("performance\n")
    assert read_outline(tree) == before
    switch_cpu(tree.root, 1, is_online=False)
    assert read_outline(tree) != before
    switch_cpu(tree.root, 1, is_online=True)
    shutil.rmtree(policy(tree.root, 1))
    assert read_outline(tree) != before
