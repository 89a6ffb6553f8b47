# SPDX-License-Identifier: Apache-2.0
"""Simulated CPUs: files as the kernel's, only in empty directories."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from orchestrator.errors import ConfigError
from orchestrator.power.simulated import DEFAULT_STEPS_KHZ, lay_out, switch_cpu
from orchestrator.power.sysfs import CPU_DIR, MARKER, CpuTree
from orchestrator.power.topology import read_topology
from orchestrator.values.domain import PCpu
from tests.power.conftest import read_all


def test_a_cpu_s_directory_links_to_its_clock_group(tmp_path: Path) -> None:
    lay_out(tmp_path, cpus=5, shared=2)
    cpus = tmp_path / CPU_DIR
    links = [str((cpus / f"cpu{n}/cpufreq").readlink()) for n in range(5)]
    assert links == [f"../cpufreq/policy{n}" for n in (0, 0, 2, 2, 4)]
    assert (cpus / "cpu3/cpufreq/affected_cpus").read_text() == "2 3\n"
    assert (cpus / "cpu4/cpufreq/related_cpus").read_text() == "4\n"
    assert (cpus / "present").read_text() == "0-4\n"


def test_cpus_are_divided_among_sockets(tmp_path: Path) -> None:
    lay_out(tmp_path, cpus=8, shared=2, sockets=2)
    locations = read_topology(CpuTree(tmp_path)).locations
    assert [locations[PCpu(n)].package for n in range(8)] == [0, 0, 0, 0, 1, 1, 1, 1]
    assert [locations[PCpu(n)].node for n in range(8)] == [0, 0, 0, 0, 1, 1, 1, 1]
    assert [locations[PCpu(n)].core for n in range(8)] == list(range(8))


def test_a_written_frequency_is_the_current_one(tree: CpuTree) -> None:
    policy = tree.cpu_dir / "cpufreq/policy1"
    (policy / "scaling_setspeed").write_text("1500000\n")
    assert (policy / "scaling_cur_freq").read_text() == "1500000\n"


def test_tables_have_the_kernel_s_format(tree: CpuTree) -> None:
    policy = tree.cpu_dir / "cpufreq/policy0"
    table = (policy / "scaling_available_frequencies").read_text()
    assert table == "".join(f"{khz} " for khz in DEFAULT_STEPS_KHZ) + "\n"
    assert "userspace" in (policy / "scaling_available_governors").read_text().split()


def test_steps_and_governor_can_be_chosen(tmp_path: Path) -> None:
    steps = (1_000_000, 3_000_000, 2_000_000)
    lay_out(tmp_path, cpus=1, steps_khz=steps, governor="ondemand")
    group = read_topology(CpuTree(tmp_path)).groups[0]
    assert group.steps.khz == (3_000_000, 2_000_000, 1_000_000)
    assert not group.steps.has_turbo
    assert group.governor == "ondemand"


def test_each_tree_has_its_own_identity(tmp_path: Path) -> None:
    for name in ("one", "two"):
        lay_out(tmp_path / name, cpus=1)
    one, two = (CpuTree(tmp_path / name) for name in ("one", "two"))
    assert one.is_simulated
    assert one.boot_id() != two.boot_id()


def test_an_empty_marker_stands_for_the_kernel_s_boot(root: Path) -> None:
    (root / MARKER).write_text("")
    boot_id = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    assert CpuTree(root).boot_id() == boot_id
    assert CpuTree.host().boot_id() == boot_id


def test_a_directory_that_is_not_empty_is_refused(tmp_path: Path) -> None:
    (tmp_path / "notes").write_text("mine")
    with pytest.raises(ConfigError, match="not empty"):
        lay_out(tmp_path, cpus=1)
    assert read_all(tmp_path) == {"notes": b"mine"}


def test_an_existing_tree_is_not_overwritten(root: Path) -> None:
    before = read_all(root)
    with pytest.raises(ConfigError, match="not empty"):
        lay_out(root, cpus=2)
    assert read_all(root) == before


def test_a_directory_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match="file/sys: Not a directory"):
        lay_out(tmp_path / "file" / "sys", cpus=1)


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        ({"cpus": 0}, "invalid number of CPUs 0: expected 1 to 8192"),
        ({"cpus": 8193}, "invalid number of CPUs 8193"),
        ({"cpus": 2, "shared": 0}, "invalid number of CPUs per clock group 0"),
        ({"cpus": 2, "sockets": 0}, "invalid number of sockets 0"),
        ({"cpus": 2, "steps_khz": ()}, "expected at least one frequency"),
        (
            {"cpus": 2, "governor": "warp"},
            "invalid governor 'warp': expected one of conservative",
        ),
    ],
)
def test_invalid_arguments_are_refused(
    tmp_path: Path, arguments: dict[str, Any], word: str
) -> None:
    with pytest.raises(ConfigError, match=word):
        lay_out(tmp_path / "sys", **arguments)
    assert not (tmp_path / "sys").exists()


def test_taking_a_cpu_offline_and_online_leaves_no_trace(tmp_path: Path) -> None:
    lay_out(tmp_path, cpus=4, shared=2)
    before = read_all(tmp_path)
    switch_cpu(tmp_path, 3, is_online=False)
    assert CpuTree(tmp_path).online() == {0, 1, 2}
    assert (tmp_path / CPU_DIR / "offline").read_text() == "3\n"
    assert (tmp_path / CPU_DIR / "cpu3/online").read_text() == "0\n"
    switch_cpu(tmp_path, 3, is_online=True)
    assert read_all(tmp_path) == before


def test_only_simulated_cpus_can_be_switched(root: Path) -> None:
    with pytest.raises(ConfigError, match=r"no such simulated CPU in .*: 4"):
        switch_cpu(root, 4, is_online=False)
    (root / MARKER).unlink()
    with pytest.raises(ConfigError, match=r"no such simulated CPU in .*: 1"):
        switch_cpu(root, 1, is_online=False)
