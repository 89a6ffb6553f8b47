# SPDX-License-Identifier: Apache-2.0
"""Kernel options: what another one would permit, and what has no effect."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from orchestrator.power.simulated import lay_out
from orchestrator.power.sysfs import MARKER
from tests.cli.doctor.conftest import examine, found
from tests.cli.doctor.machines import (
    AMD_FLAGS,
    MACHINES,
    OLD_INTEL_FLAGS,
    RELEASE,
    lay_out_machine,
    write,
)

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

AVAILABLE, IGNORED = "kernel-option-available", "kernel-option-ignored"
TABLES = "sys/firmware/acpi/tables"
COMMAND_LINE, RELEASE_FILE = "proc/cmdline", "proc/sys/kernel/osrelease"


def lay_out_kind(tmp_path: Path, kind: str, **changes: Any) -> Path:
    return lay_out_machine(tmp_path / "m", replace(MACHINES[kind], **changes))


def advice(root: Path, check: str = AVAILABLE) -> list[dict[str, Any]]:
    """Return the findings about kernel options; they are never more than that."""
    status, document = examine(root)
    assert (status, document["healthy"]) == (0, True)
    return [item for item in document["findings"] if item["id"] == check]


@pytest.mark.parametrize(
    "kind",
    [
        "acpi-cpufreq",
        "intel_pstate passive",
        "amd-pstate passive",
        "amd-pstate guided",
        "cppc_cpufreq",
    ],
)
def test_machines_that_take_one_write_get_no_advice(tmp_path: Path, kind: str) -> None:
    root = lay_out_machine(tmp_path / "m", MACHINES[kind])
    assert advice(root) == advice(root, IGNORED) == []


@pytest.mark.parametrize(
    ("kind", "release", "gain", "cost", "fix"),
    [
        (
            "intel_pstate active",
            RELEASE,
            "in the mode passive of intel_pstate, one write sets them at once",
            "a governor of the kernel, and not the hardware (HWP), chooses",
            "intel_pstate=passive on the kernel command line",
        ),
        (
            "intel_pstate active, no HWP",
            RELEASE,
            "in the mode passive of intel_pstate, one write sets them at once",
            "a governor of the kernel, and not intel_pstate, chooses",
            "echo passive > /sys/devices/system/cpu/intel_pstate/status",
        ),
        (
            "amd-pstate-epp",
            "6.3.0",
            "in the mode passive of amd-pstate, one write sets them at once",
            "a governor of the kernel, and not the hardware, chooses",
            "amd_pstate=passive on the kernel command line",
        ),
        (
            "amd-pstate-epp",
            "6.12.1-amd64",
            "in the mode guided of amd-pstate, one write sets them at once",
            "there is no energy performance preference",
            "echo guided > /sys/devices/system/cpu/amd_pstate/status",
        ),
    ],
)
def test_a_driver_that_takes_two_limits_has_a_mode_that_takes_one_write(
    tmp_path: Path, kind: str, release: str, gain: str, cost: str, fix: str
) -> None:
    root = lay_out_machine(tmp_path / "m", MACHINES[kind])
    write(root, {RELEASE_FILE: release})
    first, *_ = advice(root)
    assert (first["subject"], first["severity"]) == ("CPU 0-3", "info")
    assert gain in first["what"]
    assert cost in first["what"]
    assert first["fix"].startswith("not needed; ")
    assert fix in first["fix"]


@pytest.mark.parametrize("kind", ["intel_pstate active", "amd-pstate-epp"])
def test_a_kernel_without_userspace_gets_no_advice_to_use_it(
    tmp_path: Path, kind: str
) -> None:
    root = lay_out_machine(tmp_path / "m", MACHINES[kind])
    write(root, {f"lib/modules/{RELEASE}/modules.dep": "kernel/fs/ext4.ko:"})
    assert advice(root) == []


@pytest.mark.parametrize(
    ("tables", "warnings"),
    [({}, 0), ({"DSDT": "_CPC _PSS"}, 0), ({"DSDT": "x", "SSDT3": "_CPC"}, 1)],
)
def test_disabling_intel_pstate_is_advised_against_where_there_is_no_other_driver(
    tmp_path: Path, tables: Mapping[str, str], warnings: int
) -> None:
    root = lay_out_machine(tmp_path / "m", MACHINES["intel_pstate active"])
    write(root, {f"{TABLES}/{name}": text for name, text in tables.items()})
    (finding,) = advice(root)
    assert finding["fix"].count("not intel_pstate=disable") == warnings


def test_no_machine_is_advised_to_disable_intel_pstate(tmp_path: Path) -> None:
    for number, machine in enumerate([*MACHINES.values(), None]):
        root = lay_out_machine(tmp_path / str(number), machine)
        for finding in examine(root)[1]["findings"]:
            words = finding["fix"] or ""
            assert "intel_pstate=disable" not in words.replace("not intel_", ""), words


def test_unused_hwp_is_worth_knowing(tmp_path: Path) -> None:
    root = lay_out_machine(tmp_path / "m", MACHINES["acpi-cpufreq, HWP unused"])
    (finding,) = advice(root)
    assert "leaves 4 steps of the firmware" in finding["what"]
    assert "boot with intel_pstate=passive instead" in finding["fix"]


def test_hwp_that_an_option_switches_off_is_worth_knowing(tmp_path: Path) -> None:
    kind = "intel_pstate active, no HWP"
    root = lay_out_kind(tmp_path, kind)
    assert "intel_pstate=no_hwp" in advice(root)[-1]["what"]
    assert "remove the option" in advice(root)[-1]["fix"]
    without = replace(MACHINES[kind], flags=OLD_INTEL_FLAGS)
    forced = replace(MACHINES[kind], policy=MACHINES["intel_pstate active"].policy)
    for number, machine in enumerate((without, forced)):
        other = lay_out_machine(tmp_path / str(number), machine)
        assert not any("no_hwp" in item["what"] for item in advice(other))


def test_amd_pstate_has_more_steps_than_p_states(tmp_path: Path) -> None:
    root = lay_out_kind(tmp_path, "acpi-cpufreq, CPPC unused")
    (finding,) = advice(root)
    assert finding["what"] == (
        "acpi-cpufreq has 4 steps; amd-pstate in the mode passive has 23, 100 MHz"
        " apart, but guests then see other steps, and writes go through the firmware's"
        " memory, not a register"
    )
    assert finding["fix"] == "not needed; to change it, boot with amd_pstate=passive"
    write(root, {RELEASE_FILE: "5.10.0-9-amd64"})
    assert advice(root) == []  # that kernel has no amd-pstate


def test_the_predicted_number_of_steps_is_what_amd_pstate_then_has(
    tmp_path: Path,
) -> None:
    unused = MACHINES["acpi-cpufreq, CPPC unused"]
    used = replace(
        MACHINES["amd-pstate passive"], files=unused.files, min_khz=400_000,
        max_khz=unused.max_khz,
    )  # fmt: skip
    _, document = examine(lay_out_machine(tmp_path / "m", used))
    (cpus,) = document["cpus"]
    assert (cpus["steps"], cpus["has_turbo"]) == (23, True)


def test_cppc_that_the_firmware_hides_needs_the_firmware_setup(tmp_path: Path) -> None:
    root = lay_out_kind(
        tmp_path, "acpi-cpufreq, CPPC unused", files={}, flags=AMD_FLAGS
    )
    (finding,) = advice(root)
    assert "the firmware does not describe CPPC" in finding["what"]
    assert "enable CPPC in the firmware setup" in finding["fix"]


@pytest.mark.parametrize(
    ("kind", "command_line", "release", "what"),
    [
        (
            "intel_pstate active",
            "ro intel_pstate=disable",
            RELEASE,
            "intel_pstate=disable has no effect: the firmware has enabled HWP",
        ),
        (
            "acpi-cpufreq, CPPC unused",
            "ro amd_pstate=guided",
            RELEASE,
            f"amd_pstate=guided has no effect: Linux {RELEASE} does not have it",
        ),
        (
            "acpi-cpufreq",
            "ro amd_pstate=active",
            "6.12.1",
            "amd_pstate=active has no effect: the firmware does not describe CPPC",
        ),
        (
            "acpi-cpufreq, CPPC unused",
            "ro amd_pstate=active",
            "6.12.1",
            "amd_pstate=active has no effect: see 'dmesg",
        ),
    ],
)
def test_an_option_without_effect_is_information(
    tmp_path: Path, kind: str, command_line: str, release: str, what: str
) -> None:
    root = lay_out_kind(tmp_path, kind, command_line=command_line)
    write(root, {RELEASE_FILE: release})
    (finding,) = advice(root, IGNORED)
    assert finding["subject"] == "kernel command line"
    assert finding["what"].startswith(what)


@pytest.mark.parametrize(
    ("files", "fix"),
    [
        (
            {COMMAND_LINE: "ro intel_pstate=disable", f"{TABLES}/DSDT": "_CPC"},
            "remove 'intel_pstate=disable' from the kernel command line",
        ),
        (
            {COMMAND_LINE: "ro intel_pstate=disable"},
            "modprobe acpi-cpufreq; if it finds no device, remove 'intel_pstate=dis",
        ),
        ({f"{TABLES}/dynamic/SSDT2": "_PSS"}, "modprobe acpi-cpufreq; if it finds no"),
        (
            {f"{TABLES}/DSDT": "x"},
            "let the operating system control P-states in the firmware setup",
        ),
        (
            {
                "proc/cpuinfo": f"flags : {AMD_FLAGS}",
                f"{TABLES}/DSDT": "x",
                f"{TABLES}/SSDT1": "_CPC",
            },
            "boot with 'amd_pstate=passive' on the kernel command line",
        ),
        ({"proc/cpuinfo": "Features : fp asimd"}, "modprobe cppc_cpufreq"),
    ],
)
def test_a_machine_without_a_driver_is_led_to_one(
    tmp_path: Path, files: Mapping[str, str], fix: str
) -> None:
    root = lay_out_machine(tmp_path / "m", None)
    write(root, files)
    assert found(root)["no-cpufreq"]["fix"].startswith(fix)


def test_options_of_the_kernel_are_nothing_to_simulated_cpus(tmp_path: Path) -> None:
    lay_out(tmp_path / "sys", cpus=2, driver="intel_pstate")
    write(tmp_path, {COMMAND_LINE: "ro intel_pstate=disable"})
    assert set(found(tmp_path)) == {"cpus-simulated"}
    (tmp_path / "sys" / MARKER).unlink()
    assert {AVAILABLE, IGNORED} <= set(found(tmp_path))
