# SPDX-License-Identifier: Apache-2.0
"""Other programs that set frequencies, and settings left by a killed daemon."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from orchestrator.limits import Limits
from orchestrator.power.attribute_journal import (
    ATTRIBUTE_JOURNAL_NAME,
    AttributeJournal,
)
from orchestrator.power.held_attributes import HeldAttributes
from orchestrator.power.held_limits import HeldLimits
from orchestrator.power.journal import JOURNAL_NAME, Journal
from orchestrator.power.limit_journal import LIMIT_JOURNAL_NAME, LimitJournal
from orchestrator.power.mechanisms.registry import find_mechanism
from orchestrator.power.simulated import lay_out
from orchestrator.power.sysfs import CpuTree
from orchestrator.power.topology import read_topology
from tests.cli.doctor.conftest import doctor, found
from tests.cli.doctor.machines import write
from tests.power.attribute_files import add_idle_states, latency_path

if TYPE_CHECKING:
    from pathlib import Path

TUNED = "usr/lib/tuned/profiles"
HOLD = """
import sys
from pathlib import Path
from orchestrator.power.tree_lock import CpuTreeLock
from orchestrator.power.sysfs import CpuTree
with CpuTreeLock(CpuTree(Path(sys.argv[1]))):
    print("held", flush=True)
    sys.stdin.read()
"""


def tuned(root: Path, section: str, *, profile: str = "virtual-host") -> None:
    write(
        root,
        {
            "proc/812/comm": "tuned",
            "etc/tuned/active_profile": profile,
            f"{TUNED}/{profile}/tuned.conf": section,
        },
    )


def test_a_tuned_profile_that_sets_governors_is_reported(healthy: Path) -> None:
    tuned(healthy, "[main]\ninclude=throughput-performance\n[sysctl]\nx=1")
    write(
        healthy,
        {
            f"{TUNED}/throughput-performance/tuned.conf": "[cpu]\n"
            "governor=performance\nmin_perf_pct=100\nforce_latency=1"
        },
    )
    finding = found(healthy)["tuned-sets-clocks"]
    assert finding["subject"] == "TuneD profile virtual-host"
    assert finding["what"] == "sets governor=performance, min_perf_pct=100 on all CPUs"


def test_a_tuned_profile_may_exclude_cpus(healthy: Path) -> None:
    tuned(healthy, "[cpu]\ngovernor=powersave\ndevices=!cpu2,!cpu3")
    assert "on CPUs !cpu2,!cpu3" in found(healthy)["tuned-sets-clocks"]["what"]


def test_tuned_without_cpufreq_settings_is_ok(healthy: Path) -> None:
    tuned(healthy, "[cpu]\nforce_latency=cstate.id:1\n[disk]\nreadahead=>4096")
    assert found(healthy) == {}


def test_the_profile_of_a_stopped_tuned_is_ignored(healthy: Path) -> None:
    tuned(healthy, "[cpu]\ngovernor=performance")
    (healthy / "proc/812/comm").unlink()
    assert found(healthy) == {}


@pytest.mark.parametrize(
    ("section", "what"),
    [
        ("[guests]\ntype=cpu\ngovernor=performance", "sets governor=performance on"),
        (
            "[sysfs]\n/sys/devices/system/cpu/intel_pstate/no_turbo=1\n/sys/x=1",
            "sets /sys/devices/system/cpu/intel_pstate/no_turbo=1 on",
        ),
    ],
)
def test_a_tuned_profile_may_set_frequencies_under_another_name(
    healthy: Path, section: str, what: str
) -> None:
    tuned(healthy, section)
    assert found(healthy)["tuned-sets-clocks"]["what"].startswith(what)


def test_a_disabled_section_of_a_tuned_profile_is_ignored(healthy: Path) -> None:
    tuned(healthy, "[cpu]\nenabled=false\ngovernor=performance")
    assert found(healthy) == {}


def test_a_tuned_that_starts_at_boot_is_reported(healthy: Path) -> None:
    tuned(healthy, "[cpu]\ngovernor=performance")
    (healthy / "proc/812/comm").unlink()
    enable(healthy, "tuned.service")
    finding = found(healthy)["tuned-sets-clocks"]
    assert finding["what"].endswith("on all CPUs when TuneD starts, at the next boot")
    assert list(found(healthy)) == ["tuned-sets-clocks"]  # once


def test_a_program_that_switches_profiles_is_a_warning(healthy: Path) -> None:
    write(healthy, {"proc/44/comm": "tuned-ppd"})
    finding = found(healthy)["tuned-profile-switched"]
    assert (finding["subject"], finding["severity"]) == ("tuned-ppd", "warning")
    assert "process 44" in finding["what"]
    assert "/etc/tuned/ppd.conf" in finding["fix"]


def test_thermald_is_information(healthy: Path) -> None:
    write(healthy, {"proc/44/comm": "thermald"})
    findings = found(healthy)
    assert list(findings) == ["thermal-daemon-runs"]
    assert findings["thermal-daemon-runs"]["severity"] == "info"


@pytest.mark.parametrize(
    ("comm", "arguments", "expected"),
    [
        ("python", "/opt/venv/bin/python\0/opt/venv/bin/auto-cpufreq\0--daemon", True),
        ("python3", "python3\0-Es\0/usr/bin/auto-cpufreq\0", True),
        ("python3", "python3\0-c\0print()\0auto-cpufreq", False),
        ("vi", "vi\0/usr/bin/auto-cpufreq", False),
    ],
)
def test_a_power_manager_in_an_interpreter_is_found_by_its_script(
    healthy: Path,
    comm: str,
    arguments: str,
    expected: bool,  # noqa: FBT001 - a parameter of the test
) -> None:
    write(healthy, {"proc/44/comm": comm})
    (healthy / "proc/44/cmdline").write_text(arguments)
    assert ("power-manager-runs" in found(healthy)) is expected


@pytest.mark.parametrize(
    "section", ["governor", "[cpu", "[main]\ninclude=virtual-host"]
)
def test_an_unreadable_profile_is_skipped(healthy: Path, section: str) -> None:
    tuned(healthy, section)
    assert found(healthy) == {}


@pytest.mark.parametrize(
    ("comm", "name", "fix"),
    [
        (
            "power-profiles-",
            "power-profiles-daemon",
            "stop it: systemctl disable --now power-profiles-daemon",
        ),
        ("vm_power_manage", "DPDK's vm_power_manager", "stop it: kill 44"),
        ("nodeagent", "Kubernetes Power Manager", "stop it: kill 44"),
    ],
)
def test_a_running_power_manager_is_an_error(
    comm: str, name: str, fix: str, healthy: Path
) -> None:
    write(healthy, {"proc/44/comm": comm, "proc/45/comm": "bash"})
    finding = found(healthy)["power-manager-runs"]
    assert (finding["subject"], finding["severity"]) == (name, "error")
    assert "process 44" in finding["what"]
    assert finding["fix"] == fix


def enable(root: Path, unit: str, target: str = "multi-user") -> None:
    wants = root / f"etc/systemd/system/{target}.target.wants"
    wants.mkdir(parents=True, exist_ok=True)
    (wants / unit).symlink_to(f"/usr/lib/systemd/system/{unit}")


@pytest.mark.parametrize(
    ("unit", "target"),
    [
        ("cpupower.service", "multi-user"),
        ("power-profiles-daemon.service", "graphical"),
    ],
)
def test_a_unit_that_sets_frequencies_at_boot_is_a_warning(
    healthy: Path, unit: str, target: str
) -> None:
    enable(healthy, unit, target)
    finding = found(healthy)["power-manager-enabled"]
    assert finding["fix"].startswith(f"systemctl disable {unit}")


def test_an_init_script_that_sets_frequencies_is_a_warning(healthy: Path) -> None:
    write(healthy, {"etc/rc2.d/S01cpufrequtils": "#!/bin/sh"})
    finding = found(healthy)["power-manager-enabled"]
    assert finding["subject"] == "cpufrequtils.service"


def test_a_masked_unit_does_not_start(healthy: Path) -> None:
    enable(healthy, "cpupower.service")
    (healthy / "etc/systemd/system/cpupower.service").symlink_to("/dev/null")
    assert found(healthy) == {}


def test_a_unit_that_runs_already_is_reported_once(healthy: Path) -> None:
    enable(healthy, "cpufreqd.service")
    write(healthy, {"proc/44/comm": "cpufreqd"})
    assert list(found(healthy)) == ["power-manager-runs"]


def test_another_holder_of_the_tree_is_an_error(tmp_path: Path) -> None:
    lay_out(tmp_path / "cpus", cpus=2)
    with subprocess.Popen(
        [sys.executable, "-c", HOLD, str(tmp_path / "cpus")],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        document = doctor(
            "--sysfs-root", tmp_path / "cpus", before=("--run-dir", tmp_path)
        )
        process.kill()
    findings = {item["id"]: item for item in document["findings"]}
    assert f"process {process.pid} (" in findings["claimed-elsewhere"]["what"]
    assert document["exit_status"] == 5


def leave_behind(tree: CpuTree, journal: Path) -> None:
    group = read_topology(tree).groups[0]
    mechanism = find_mechanism(group.mechanism)
    prepared = mechanism.prepare(tree, group)
    try:
        Journal(journal, tree).record(prepared)
        mechanism.take(prepared)
    finally:
        prepared.close()


def test_an_unowned_journal_suggests_restore(tmp_path: Path) -> None:
    lay_out(tmp_path / "cpus", cpus=2)
    leave_behind(CpuTree(tmp_path / "cpus"), tmp_path / JOURNAL_NAME)
    document = doctor("--sysfs-root", tmp_path / "cpus", before=("--run-dir", tmp_path))
    findings = {item["id"]: item for item in document["findings"]}
    assert "clock groups 0" in findings["journal-left-behind"]["what"]
    assert "vmpower restore" in findings["journal-left-behind"]["fix"]
    assert findings["governor-left-behind"]["subject"] == "CPU 0"


def test_limits_left_behind_suggest_restore(tmp_path: Path) -> None:
    lay_out(tmp_path / "cpus", cpus=2)
    tree = CpuTree(tmp_path / "cpus")
    journal = LimitJournal(tmp_path / LIMIT_JOURNAL_NAME, tree)
    HeldLimits(tree, journal).hold({1: Limits(max_khz=1_500_000)})
    document = doctor("--sysfs-root", tmp_path / "cpus", before=("--run-dir", tmp_path))
    (finding,) = [i for i in document["findings"] if i["id"] == "journal-left-behind"]
    assert finding["subject"] == f"{tmp_path}/limits.json"
    assert "clock groups 1" in finding["what"]


def test_attributes_left_behind_suggest_restore(tmp_path: Path) -> None:
    lay_out(tmp_path / "cpus", cpus=2)
    tree = CpuTree(tmp_path / "cpus")
    add_idle_states(tree)
    journal = AttributeJournal(tmp_path / ATTRIBUTE_JOURNAL_NAME, tree)
    HeldAttributes(tree, journal).hold({latency_path(1): "50"})
    document = doctor("--sysfs-root", tmp_path / "cpus", before=("--run-dir", tmp_path))
    (finding,) = [i for i in document["findings"] if i["id"] == "journal-left-behind"]
    assert finding["subject"] == f"{tmp_path}/attributes.json"
    assert "without restoring idle latency of CPU 1" in finding["what"]


def test_a_journal_of_another_tree_is_only_a_warning(tmp_path: Path) -> None:
    lay_out(tmp_path / "cpus", cpus=2)
    lay_out(tmp_path / "other", cpus=2)
    leave_behind(CpuTree(tmp_path / "other"), tmp_path / JOURNAL_NAME)
    document = doctor("--sysfs-root", tmp_path / "cpus", before=("--run-dir", tmp_path))
    (finding,) = [i for i in document["findings"] if i["id"] == "journal-left-behind"]
    assert finding["severity"] == "warning"
    assert "of another CPU tree" in finding["what"]


def test_a_run_directory_that_the_daemon_refuses_is_an_error(tmp_path: Path) -> None:
    lay_out(tmp_path / "cpus", cpus=2)
    run_dir = tmp_path / "run"
    run_dir.mkdir()
    leave_behind(CpuTree(tmp_path / "cpus"), run_dir / JOURNAL_NAME)
    run_dir.chmod(0o777)
    document = doctor("--sysfs-root", tmp_path / "cpus", before=("--run-dir", run_dir))
    findings = {item["id"]: item for item in document["findings"]}
    assert "can be changed by other users" in findings["run-dir-refused"]["what"]
    assert f"chmod go-w {run_dir}" in findings["run-dir-refused"]["fix"]
    assert "journal-left-behind" not in findings
