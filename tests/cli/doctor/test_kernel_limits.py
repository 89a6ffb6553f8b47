# SPDX-License-Identifier: Apache-2.0
"""Limits of the firmware, and those that scaling_max_freq does not show."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from tests.cli.doctor.conftest import examine, found
from tests.cli.doctor.machines import CPU, INTEL_FLAGS, MACHINES, lay_out_machine, write

if TYPE_CHECKING:
    from pathlib import Path

PSTATE = f"{CPU}/intel_pstate"
ACTIVE, PASSIVE = "intel_pstate active", "intel_pstate passive"


def lay_out(tmp_path: Path, kind: str, files: dict[str, str]) -> Path:
    root = lay_out_machine(tmp_path / "m", MACHINES[kind])
    write(root, files)
    return root


def of_policies(files: dict[str, str], *numbers: int) -> dict[str, str]:
    return {
        f"{CPU}/cpufreq/policy{number}/{name}": value
        for number in numbers
        for name, value in files.items()
    }


@pytest.mark.parametrize(
    ("limit", "text"),
    [("1800000", "1.80 GHz"), ("2300000", "2.30 GHz")],  # nominal: no turbo
)
def test_a_limit_of_the_firmware_is_reported_as_the_firmwares(
    tmp_path: Path, limit: str, text: str
) -> None:
    files = {"bios_limit": limit, "scaling_max_freq": limit}
    root = lay_out(tmp_path, "acpi-cpufreq", of_policies(files, 1, 2))
    findings = found(root)
    assert "clock-ceiling-lowered" not in findings  # once
    finding = findings["firmware-limits"]
    assert (finding["subject"], finding["severity"]) == ("CPU 1-2", "warning")
    assert f"bios_limit is {text}" in finding["what"]
    assert "firmware setup" in finding["fix"]


def test_a_lower_limit_beside_the_firmwares_is_another_programs(tmp_path: Path) -> None:
    files = {"bios_limit": "1800000", "scaling_max_freq": "1200000"}
    findings = found(lay_out(tmp_path, "acpi-cpufreq", of_policies(files, 1)))
    assert "1.20 GHz" in findings["clock-ceiling-lowered"]["what"]
    assert "1.80 GHz" in findings["firmware-limits"]["what"]


def test_a_boost_above_the_highest_p_state_is_no_limit(tmp_path: Path) -> None:
    """AMD's processors boost above P0, which is the bios_limit then."""
    files = {
        "scaling_available_frequencies": "2300000 1800000 1200000",
        "scaling_boost_frequencies": "3400000",
        "cpuinfo_max_freq": "3400000",
        "scaling_max_freq": "3400000",
        "bios_limit": "2300000",
    }
    root = lay_out(tmp_path, "acpi-cpufreq", of_policies(files, 0, 1, 2, 3))
    assert "firmware-limits" not in found(root)


def test_a_guarantee_below_nominal_is_information(tmp_path: Path) -> None:
    root = lay_out(
        tmp_path,
        "amd-pstate passive",
        {f"{CPU}/cpu3/acpi_cppc/guaranteed_perf": "62"},  # of 124, which is 2.6 GHz
    )
    finding = found(root)["firmware-guarantees-less"]
    assert (finding["subject"], finding["severity"]) == ("CPU 3", "info")
    assert "1.30 GHz" in finding["what"]


@pytest.mark.parametrize("value", ["124", "0"])
def test_a_guarantee_of_nominal_or_none_is_not_mentioned(
    tmp_path: Path, value: str
) -> None:
    files = {f"{CPU}/cpu3/acpi_cppc/guaranteed_perf": value}
    root = lay_out(tmp_path, "amd-pstate passive", files)
    assert "firmware-guarantees-less" not in found(root)


@pytest.mark.parametrize(
    ("turbo_pct", "why"),
    [
        ("52", "(flag 'ida'): the firmware has disabled it"),
        ("0", "(flag 'ida'): it has none, or the firmware has disabled it"),
    ],
)
def test_turbo_that_the_firmware_disables_cannot_be_enabled(
    tmp_path: Path, turbo_pct: str, why: str
) -> None:
    machine = replace(MACHINES[ACTIVE], flags=INTEL_FLAGS.replace("ida ", ""))
    root = lay_out_machine(tmp_path / "m", machine)
    write(root, {f"{PSTATE}/no_turbo": "1", f"{PSTATE}/turbo_pct": turbo_pct})
    findings = found(root)
    assert "turbo-off" not in findings
    assert why in findings["turbo-disabled-by-firmware"]["what"]
    assert findings["turbo-disabled-by-firmware"]["severity"] == "info"


def test_turbo_that_the_kernel_has_off_is_the_limit_of_its_own_finding(
    tmp_path: Path,
) -> None:
    files = of_policies({"scaling_max_freq": "2100000"}, 0, 1, 2, 3)
    root = lay_out(tmp_path, ACTIVE, {f"{PSTATE}/no_turbo": "1", **files})
    findings = found(root)
    assert "no_turbo is 1" in findings["turbo-off"]["what"]
    assert "turbo-disabled-by-firmware" not in findings
    assert "clock-ceiling-lowered" not in findings
    write(root, {f"{PSTATE}/no_turbo": "0"})
    assert "2.10 GHz" in found(root)["clock-ceiling-lowered"]["what"]


def test_a_percentage_that_no_limit_shows_is_reported(tmp_path: Path) -> None:
    root = lay_out(tmp_path, ACTIVE, {f"{PSTATE}/max_perf_pct": "66"})
    status, document = examine(root)
    (finding,) = (it for it in document["findings"] if it["severity"] != "info")
    assert (finding["id"], status) == ("max-perf-lowered", 5)
    assert finding["what"] == (
        "max_perf_pct is 66: no frequency above 66 % of 3.50 GHz is used, and"
        " scaling_max_freq does not show it in the mode active"
    )
    assert finding["fix"].endswith(
        "write 100 to /sys/devices/system/cpu/intel_pstate/max_perf_pct"
    )


def test_a_percentage_in_the_mode_passive_is_one_finding(tmp_path: Path) -> None:
    shown = of_policies({"scaling_max_freq": str(3_500_000 * 66 // 100)}, 0, 1, 2, 3)
    root = lay_out(tmp_path, PASSIVE, {f"{PSTATE}/max_perf_pct": "66", **shown})
    findings = found(root)
    assert "scaling_max_freq" not in findings["max-perf-lowered"]["what"]
    assert "clock-ceiling-lowered" not in findings


@pytest.mark.parametrize(
    ("percent", "text"),
    [
        ("50", "no frequency below 50 % of 3.50 GHz is used"),
        ("100", "frequencies are never lowered"),
    ],
)
def test_a_raised_minimum_of_intel_pstate_is_reported(
    tmp_path: Path, percent: str, text: str
) -> None:
    root = lay_out(tmp_path, PASSIVE, {f"{PSTATE}/min_perf_pct": percent})
    finding = found(root)["min-perf-raised"]
    assert finding["what"] == f"min_perf_pct is {percent}: {text}"
    assert finding["severity"] == "warning"


@pytest.mark.parametrize("percent", ["22", "23"])
def test_the_lowest_step_as_a_percentage_is_not_raised(
    tmp_path: Path, percent: str
) -> None:
    """800 MHz of 3.5 GHz; the kernel rounds up."""
    root = lay_out(tmp_path, ACTIVE, {f"{PSTATE}/min_perf_pct": percent})
    assert "min-perf-raised" not in found(root)
