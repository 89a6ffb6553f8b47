# SPDX-License-Identifier: Apache-2.0
"""`vmpower doctor` on the files of machines with each scaling driver."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, cast

import pytest

from cli.app import app
from cli.doctor.checks import CHECKS
from cli.doctor.checks.limits import clock_ceiling_lowered, clock_floor_raised
from cli.doctor.facts.cpus import read_cpus
from cli.doctor.target import Target
from orchestrator.power.simulated import lay_out
from orchestrator.power.simulated_drivers import SIMULATED_DRIVERS
from tests.cli.commands import new_runner
from tests.cli.doctor.conftest import examine, found
from tests.cli.doctor.machines import CPU, MACHINES, RELEASE, lay_out_machine, write

if TYPE_CHECKING:
    from pathlib import Path

    from orchestrator.control.documents import Status


def test_a_machine_with_acpi_cpufreq_is_healthy(tmp_path: Path) -> None:
    root = lay_out_machine(tmp_path / "m", MACHINES["acpi-cpufreq"])
    status, document = examine(root)
    assert (status, document["healthy"], document["findings"]) == (0, True, [])
    assert document["schema"] == 1
    assert document["cpus"] == [
        {
            "pcpus": [0, 1, 2, 3],
            "driver": "acpi-cpufreq",
            "mode": None,
            "mechanism": "setspeed",
            "governor": "schedutil",
            "min_khz": 1_200_000,
            "max_khz": 2_301_000,
            "nominal_khz": 2_300_000,
            "steps": 4,
            "has_turbo": True,
            "reason": None,
        }
    ]


def test_checks_that_a_copy_of_sysfs_cannot_answer_are_skipped(tmp_path: Path) -> None:
    root = lay_out_machine(tmp_path / "m", MACHINES["acpi-cpufreq"])
    _, document = examine(root)
    unchecked = {item["id"]: item["reason"] for item in document["unchecked"]}
    assert "--root is a copy" in unchecked["libvirt-unreachable"]
    assert "--root is a copy" in unchecked["daemon-unreachable"]
    listed = {*document["passed"], *unchecked}
    assert listed == {check.name for check in CHECKS}


@pytest.mark.parametrize("kind", MACHINES)
def test_every_scaling_driver_is_supported(tmp_path: Path, kind: str) -> None:
    machine = MACHINES[kind]
    status, document = examine(lay_out_machine(tmp_path / "m", machine))
    (cpus,) = document["cpus"]
    assert cpus["driver"] == machine.driver
    assert (status, cpus["reason"], document["healthy"]) == (0, None, True)
    assert {it["severity"] for it in document["findings"]} <= {"info"}
    assert cpus["steps"] > 1


@pytest.mark.parametrize("name", SIMULATED_DRIVERS)
def test_simulated_cpus_with_each_scaling_driver_have_no_problems(
    tmp_path: Path, name: str
) -> None:
    lay_out(tmp_path / "sys", cpus=2, driver=name)
    write(tmp_path, {"proc/cpuinfo": "flags : fpu msr vmx"})  # of the host
    _, document = examine(tmp_path)
    (cpus,) = document["cpus"]
    is_chosen = SIMULATED_DRIVERS[name].has_governors
    assert cpus["mechanism"] == ("setspeed" if is_chosen else "limits")
    assert cpus["steps"] > 1
    ids = {item["id"] for item in document["findings"]}
    assert ids - {"turbo-off", "kvm-absent"} == {"cpus-simulated"}
    assert ("turbo-off" in ids) is (name == "cppc_cpufreq")


def test_no_driver_on_hardware_suggests_the_module(tmp_path: Path) -> None:
    finding = found(lay_out_machine(tmp_path / "m", None))["no-cpufreq"]
    assert "modprobe acpi-cpufreq" in finding["fix"]


def test_no_driver_in_a_virtual_machine_points_to_its_host(tmp_path: Path) -> None:
    root = lay_out_machine(tmp_path / "m", None)
    write(root, {"proc/cpuinfo": "flags : fpu hypervisor"})
    finding = found(root)["no-cpufreq"]
    assert "virtual machine" in finding["what"]
    assert "on the host" in finding["fix"]


def test_disabled_cpufreq_has_a_fix(tmp_path: Path) -> None:
    root = lay_out_machine(tmp_path / "m", None)
    write(root, {"proc/cmdline": "ro cpufreq.off=1"})
    assert "cpufreq.off=1" in found(root)["no-cpufreq"]["fix"]


def test_a_kernel_without_the_governor_is_reported(tmp_path: Path) -> None:
    root = lay_out_machine(tmp_path / "m", MACHINES["acpi-cpufreq"])
    policy = f"{CPU}/cpufreq/policy2/scaling_available_governors"
    write(root, {policy: "performance schedutil"})
    assert found(root) == {}  # the module can be loaded
    write(root, {f"lib/modules/{RELEASE}/modules.dep": "kernel/fs/ext4.ko:"})
    finding = found(root)["governor-missing"]
    assert (finding["subject"], finding["severity"]) == ("CPU 2", "error")
    assert RELEASE in finding["what"]


def test_foreign_limits_are_reported_per_cpus(tmp_path: Path) -> None:
    root = lay_out_machine(tmp_path / "m", MACHINES["acpi-cpufreq"])
    for number in (1, 2):
        write(root, {f"{CPU}/cpufreq/policy{number}/scaling_min_freq": "2301000"})
    write(root, {f"{CPU}/cpufreq/policy3/scaling_max_freq": "1800000"})
    findings = found(root)
    assert findings["clock-floor-raised"]["subject"] == "CPU 1-2"
    assert "2.30 GHz" in findings["clock-floor-raised"]["what"]
    assert findings["clock-ceiling-lowered"]["subject"] == "CPU 3"


def test_limits_that_the_daemon_holds_are_not_reported(tmp_path: Path) -> None:
    root = lay_out_machine(tmp_path / "m", MACHINES["acpi-cpufreq"])
    write(root, {f"{CPU}/cpufreq/policy3/scaling_max_freq": "1800000"})
    target = Target(root=root, sysfs_root=root / "sys")
    held = {"clock_group": 3, "held_min_khz": None, "held_max_khz": 1_800_000}
    foreign = read_cpus(target)
    ours = read_cpus(target, cast("Status", {"cpus": [held]}))
    assert len(list(clock_ceiling_lowered(foreign))) == 1
    assert list(clock_ceiling_lowered(ours)) == []


def test_the_grant_of_a_group_that_limits_set_is_no_foreign_limit(
    tmp_path: Path,
) -> None:
    root = lay_out_machine(tmp_path / "m", MACHINES["intel_pstate active"])
    for end in ("min", "max"):
        write(root, {f"{CPU}/cpufreq/policy3/scaling_{end}_freq": "1800000"})
    target = Target(root=root, sysfs_root=root / "sys")
    taken = {"clock_group": 3, "mechanism": "limits", "claimed": True}
    ours = read_cpus(
        target, cast("Status", {"cpus": [taken | {"grant_khz": 1_800_000}]})
    )
    stale = read_cpus(
        target, cast("Status", {"cpus": [taken | {"grant_khz": 2_100_000}]})
    )
    for check in (clock_floor_raised, clock_ceiling_lowered):
        assert list(check(ours)) == []
        assert [finding.subject for finding in check(stale)] == ["CPU 3"]


@pytest.mark.parametrize(
    ("kind", "mode", "mechanism", "nominal_khz"),
    [
        ("acpi-cpufreq", None, "setspeed", 2_300_000),
        ("intel_pstate active", "active", "limits", 2_100_000),
        ("acpi-cpufreq, HWP unused", None, "setspeed", 2_300_000),
        ("acpi-cpufreq, CPPC unused", None, "setspeed", 2_450_000),
        ("intel_pstate active, no HWP", "active", "limits", 2_000_000),
        ("intel_pstate passive", "passive", "setspeed", 2_100_000),
        ("amd-pstate-epp", "active", "limits", 3_500_000),
        ("amd-pstate passive", "passive", "setspeed", 2_600_000),
        ("amd-pstate guided", "guided", "setspeed", 2_600_000),
        ("cppc_cpufreq", None, "setspeed", 3_000_000),
    ],
)
def test_the_mechanism_mode_and_nominal_frequency_of_each_driver(
    tmp_path: Path, kind: str, mode: str | None, mechanism: str, nominal_khz: int
) -> None:
    _, document = examine(lay_out_machine(tmp_path / "m", MACHINES[kind]))
    (cpus,) = document["cpus"]
    assert (cpus["mode"], cpus["mechanism"]) == (mode, mechanism)
    assert cpus["nominal_khz"] == nominal_khz
    assert cpus["has_turbo"] is (cpus["max_khz"] > nominal_khz)


def test_the_table_shows_mechanism_mode_and_range(tmp_path: Path) -> None:
    root = lay_out_machine(tmp_path / "m", MACHINES["intel_pstate active"])
    result = new_runner().invoke(app, ["doctor", "--root", str(root)])
    heading, row = (
        next(line for line in result.stdout.splitlines() if word in line)
        for word in ("Driver", "intel_pstate")
    )
    assert heading.split()[:4] == ["CPUs", "Driver", "Mode", "Governor"]
    assert re.split(r"  +", row.strip()) == [
        "0-3",
        "intel_pstate",
        "active",
        "powersave",
        "800 MHz",
        "2.10 GHz",
        "3.50 GHz",
        "limits: 15 steps, turbo",
    ]


def test_disabled_turbo_is_information(tmp_path: Path) -> None:
    root = lay_out_machine(tmp_path / "m", MACHINES["acpi-cpufreq"])
    write(root, {f"{CPU}/cpufreq/boost": "0"})
    status, document = examine(root)
    assert [item["severity"] for item in document["findings"]] == ["info"]
    assert (status, document["healthy"]) == (0, True)


def test_min_perf_of_100_percent_is_no_limit(tmp_path: Path) -> None:
    root = lay_out_machine(tmp_path / "m", MACHINES["intel_pstate passive"])
    write(root, {f"{CPU}/intel_pstate/min_perf_pct": "100"})
    assert "min_perf_pct is 100" in found(root)["min-perf-raised"]["what"]


def test_userspace_without_a_journal_was_left_behind(tmp_path: Path) -> None:
    root = lay_out_machine(tmp_path / "m", MACHINES["acpi-cpufreq"])
    write(root, {f"{CPU}/cpufreq/policy1/scaling_governor": "userspace"})
    finding = found(root)["governor-left-behind"]
    assert finding["subject"] == "CPU 1"
    assert "vmpower restore" in finding["fix"]


def test_offline_and_isolated_cpus_are_listed(tmp_path: Path) -> None:
    root = lay_out_machine(tmp_path / "m", MACHINES["acpi-cpufreq"])
    write(root, {f"{CPU}/online": "0-2", f"{CPU}/isolated": "1-2"})
    write(root, {f"{CPU}/cpufreq/policy3/affected_cpus": ""})
    findings = found(root)
    assert findings["cpus-offline"]["subject"] == "CPU 3"
    assert findings["cpus-isolated"]["subject"] == "CPU 1-2"


def test_different_drivers_are_reported_separately(tmp_path: Path) -> None:
    root = lay_out_machine(tmp_path / "m", MACHINES["acpi-cpufreq"])
    write(root, {f"{CPU}/cpufreq/policy3/scaling_driver": "strange"})
    _, document = examine(root)
    assert [cpus["pcpus"] for cpus in document["cpus"]] == [[0, 1, 2], [3]]
    assert "strange (CPU 3)" in found(root)["drivers-mixed"]["what"]


def test_a_read_only_tree_is_an_error(tmp_path: Path) -> None:
    root = lay_out_machine(tmp_path / "m", MACHINES["acpi-cpufreq"])
    write(root, {"proc/mounts": f"sysfs {root}/sys sysfs ro,nosuid 0 0"})
    assert "read-only" in found(root)["sysfs-read-only"]["what"]


def test_a_missing_cpu_tree_is_an_error(tmp_path: Path) -> None:
    status, document = examine(tmp_path)
    assert (status, document["cpus"]) == (5, [])
    assert [item["id"] for item in document["findings"]] == ["cpu-tree-absent"]
    reasons = {item["id"]: item["reason"] for item in document["unchecked"]}
    assert "devices/system/cpu" in reasons["no-cpufreq"]
