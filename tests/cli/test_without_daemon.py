# SPDX-License-Identifier: Apache-2.0
"""`vmpower restore` and `vmpower simulate`, which need no daemon."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from cli.app import app
from orchestrator.power.attribute_journal import (
    ATTRIBUTE_JOURNAL_NAME,
    AttributeJournal,
)
from orchestrator.power.held_attributes import HeldAttributes
from orchestrator.power.journal import Journal
from orchestrator.power.mechanisms.registry import find_mechanism
from orchestrator.power.simulated_drivers import KERNEL_ONLY, SIMULATED_DRIVERS
from orchestrator.power.sysfs import CpuTree
from orchestrator.power.topology import read_topology
from orchestrator.power.tree_lock import CpuTreeLock
from tests.cli.commands import new_runner
from tests.power.attribute_files import add_idle_states, change, latency_path

if TYPE_CHECKING:
    from pathlib import Path

    from typer.testing import Result


def vmpower(*arguments: object) -> Result:
    return new_runner().invoke(app, [str(argument) for argument in arguments])


def read_tree(tree: Path) -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in tree.rglob("*") if path.is_file()}


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    result = vmpower("simulate", tmp_path / "cpus", "--cpus", 4, "--shared", 2)
    assert result.exit_code == 0
    return tmp_path / "cpus"


def leave_behind(tree: Path, journal: Path, pcpu_group: int = 2) -> None:
    """Take a clock group and leave it, as a killed daemon does."""
    cpus = CpuTree(tree)
    group = read_topology(cpus).group(pcpu_group)
    assert group is not None
    mechanism = find_mechanism(group.mechanism)
    prepared = mechanism.prepare(cpus, group)
    try:
        Journal(journal, cpus).record(prepared)
        mechanism.take(prepared)
    finally:
        prepared.close()


def test_simulate_writes_a_tree_that_the_daemon_accepts(tree: Path) -> None:
    topology = read_topology(CpuTree(tree))
    assert [sorted(group.pcpus) for group in topology.groups] == [[0, 1], [2, 3]]
    assert all(group.is_simulated for group in topology.groups)


def test_simulate_prints_the_next_commands(tmp_path: Path) -> None:
    result = vmpower("simulate", tmp_path / "cpus", "--cpus", 2)
    assert f"vmpowerd --sysfs-root {tmp_path}/cpus" in result.stdout


@pytest.mark.parametrize(
    ("driver", "inert", "absent"),
    [
        ("acpi-cpufreq", "scaling_max_freq, cpufreq/boost", "pstate"),
        ("amd-pstate-epp", "boost, cpufreq/boost, amd_pstate/status", "no_turbo"),
        ("intel_pstate", "energy_performance_preference", "scaling_max_freq"),
    ],
)
def test_simulate_names_what_only_a_kernel_does(
    tmp_path: Path, driver: str, inert: str, absent: str
) -> None:
    result = vmpower("simulate", tmp_path / "cpus", "--cpus", 2, "--driver", driver)
    first, _, last = result.stdout.splitlines()
    assert first == f"created 2 simulated CPUs with {driver} in {tmp_path}/cpus"
    assert last.startswith("without the kernel, no write is refused")
    assert inert in last
    assert absent not in last
    policy = tmp_path / "cpus/devices/system/cpu/cpufreq/policy1"
    assert (policy / "scaling_driver").read_text() == f"{driver}\n"


def test_simulate_refuses_an_unknown_driver_and_lists_the_known_ones(
    tmp_path: Path,
) -> None:
    result = vmpower("simulate", tmp_path / "cpus", "--cpus", 2, "--driver", "pcc")
    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr == (
        "error: invalid scaling driver 'pcc': expected one of"
        f" {', '.join(SIMULATED_DRIVERS)}\n"
    )
    assert not (tmp_path / "cpus").exists()


def test_simulate_explains_every_driver_and_what_is_not_simulated() -> None:
    words = " ".join(vmpower("simulate", "--help").stdout.split())
    for name, driver in SIMULATED_DRIVERS.items():
        assert f"{name} {driver.summary}" in words
    for file, effect in KERNEL_ONLY.items():
        assert f"{file} {effect}" in words


def test_simulate_refuses_a_directory_with_other_files(tmp_path: Path) -> None:
    (tmp_path / "mine").write_text("x")
    result = vmpower("simulate", tmp_path, "--cpus", 2)
    assert (result.exit_code, result.stdout) == (1, "")
    assert "is not empty" in result.stderr


def test_restore_undoes_the_changes_of_a_killed_daemon(
    tree: Path, tmp_path: Path
) -> None:
    before = read_tree(tree)
    leave_behind(tree, tmp_path / "restore.json")
    assert read_tree(tree) != before
    result = vmpower("restore", "--run-dir", tmp_path, "--sysfs-root", tree)
    assert (result.exit_code, result.stdout) == (0, "clock group 2: restored\n")
    assert read_tree(tree) == before
    assert not (tmp_path / "restore.json").exists()


def test_restore_as_json_lists_the_clock_groups(tree: Path, tmp_path: Path) -> None:
    journal = tmp_path / "elsewhere.json"
    leave_behind(tree, journal)
    result = vmpower(
        "-o", "json", "restore", "--journal", journal, "--sysfs-root", tree
    )
    assert json.loads(result.stdout) == {
        "schema": 1,
        "restored": [2],
        "left": [],
        "kept": [],
        "attributes": {"restored": [], "left": [], "kept": []},
    }


def test_restore_undoes_held_attributes_too(tree: Path, tmp_path: Path) -> None:
    cpus = CpuTree(tree)
    add_idle_states(cpus)
    before = read_tree(tree)
    journal = AttributeJournal(tmp_path / ATTRIBUTE_JOURNAL_NAME, cpus)
    held = HeldAttributes(cpus, journal)
    held.hold({latency_path(1): "50", latency_path(2): "50", latency_path(3): "50"})
    change(cpus, latency_path(3), "0")
    result = vmpower("restore", "--run-dir", tmp_path, "--sysfs-root", tree)
    assert result.stdout == (
        "idle latency of CPUs 1-2: restored\n"
        "idle latency of CPU 3: unchanged, set by another program since\n"
    )
    assert read_tree(tree) == before


def test_an_attribute_that_cannot_be_restored_fails_with_its_path(
    tree: Path, tmp_path: Path
) -> None:
    cpus = CpuTree(tree)
    add_idle_states(cpus)
    journal = AttributeJournal(tmp_path / ATTRIBUTE_JOURNAL_NAME, cpus)
    HeldAttributes(cpus, journal).hold({latency_path(1): "50"})
    (tree / latency_path(1)).unlink()
    (tree / latency_path(1)).mkdir()
    result = vmpower(
        *("-o", "json", "restore", "--run-dir", tmp_path, "--sysfs-root", tree)
    )
    assert result.exit_code == 1
    (kept,) = json.loads(result.stdout)["attributes"]["kept"]
    assert (kept["path"], "EISDIR" in kept["reason"]) == (latency_path(1), True)


def test_restore_keeps_settings_that_were_changed_since(
    tree: Path, tmp_path: Path
) -> None:
    leave_behind(tree, tmp_path / "restore.json")
    governor = tree / "devices/system/cpu/cpufreq/policy2/scaling_governor"
    governor.write_text("performance\n")
    result = vmpower("restore", "--run-dir", tmp_path, "--sysfs-root", tree)
    expected = "clock group 2: unchanged, its settings are another program's\n"
    assert (result.exit_code, result.stdout) == (0, expected)
    assert governor.read_text() == "performance\n"
    assert not (tmp_path / "restore.json").exists()


def test_restore_without_a_journal_has_nothing_to_do(
    tree: Path, tmp_path: Path
) -> None:
    result = vmpower("restore", "--run-dir", tmp_path, "--sysfs-root", tree)
    assert result.exit_code == 0
    assert result.stdout == f"nothing to restore in {tmp_path}/restore.json\n"


def test_restore_refuses_while_a_daemon_holds_the_tree(
    tree: Path, tmp_path: Path
) -> None:
    leave_behind(tree, tmp_path / "restore.json")
    left = read_tree(tree)
    with CpuTreeLock(CpuTree(tree)):
        result = vmpower("restore", "--run-dir", tmp_path, "--sysfs-root", tree)
    assert (result.exit_code, result.stdout) == (1, "")
    assert "is locked by" in result.stderr
    assert "hint: stop the daemon" in result.stderr
    assert read_tree(tree) == left


def test_restore_leaves_the_journal_of_another_tree_alone(
    tree: Path, tmp_path: Path
) -> None:
    journal = tmp_path / "restore.json"
    leave_behind(tree, journal)
    kept = journal.read_bytes()
    vmpower("simulate", tmp_path / "other", "--cpus", 4)
    result = vmpower(
        "restore", "--run-dir", tmp_path, "--sysfs-root", tmp_path / "other"
    )
    assert (result.exit_code, result.stdout) == (1, "")
    assert "is of another CPU tree" in result.stderr
    assert journal.read_bytes() == kept


def test_restore_refuses_a_journal_that_others_can_change(
    tree: Path, tmp_path: Path
) -> None:
    leave_behind(tree, tmp_path / "restore.json")
    taken = read_tree(tree)
    tmp_path.chmod(0o777)
    result = vmpower("restore", "--run-dir", tmp_path, "--sysfs-root", tree)
    assert (result.exit_code, result.stdout) == (1, "")
    assert "can be changed by other users (mode 0777)" in result.stderr
    assert f"chmod go-w {tmp_path}" in result.stderr.replace("\n", "")
    assert read_tree(tree) == taken


def test_restore_without_a_cpu_tree_fails(tmp_path: Path) -> None:
    result = vmpower("restore", "--run-dir", tmp_path, "--sysfs-root", tmp_path)
    assert (result.exit_code, result.stdout) == (1, "")
    assert "devices/system/cpu" in result.stderr
