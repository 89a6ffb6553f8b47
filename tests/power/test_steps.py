# SPDX-License-Identifier: Apache-2.0
"""Frequency tables of every scaling driver, from the files that it has.

The values are those that Linux showed in virtual machines with these drivers.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from orchestrator.errors import NoCpufreqError, SysfsError
from orchestrator.power.steps import read_steps
from orchestrator.power.sysfs import CPU_DIR, CpuTree, policy_path

if TYPE_CHECKING:
    from pathlib import Path

POLICY = policy_path(0)
RANGE = {
    f"{POLICY}/cpuinfo_min_freq": "600000",
    f"{POLICY}/cpuinfo_max_freq": "3600000",
    f"{POLICY}/scaling_driver": "amd-pstate",
}
STATES = {
    f"{CPU_DIR}/intel_pstate/num_pstates": "29",
    f"{CPU_DIR}/intel_pstate/turbo_pct": "42",
}


def tree_of(directory: Path, files: dict[str, str]) -> CpuTree:
    for name, value in files.items():
        path = directory / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"{value}\n")
    return CpuTree(directory)


@pytest.mark.parametrize(
    ("files", "nominal_khz"),
    [
        pytest.param({f"{POLICY}/base_frequency": "2400000"}, 2_400_000, id="HWP"),
        pytest.param(STATES, 2_200_000, id="no HWP"),
        pytest.param(
            {f"{CPU_DIR}/cpu0/acpi_cppc/nominal_freq": "2400"}, 2_400_000, id="CPPC"
        ),
        pytest.param(
            {
                f"{CPU_DIR}/cpu0/acpi_cppc/nominal_freq": "0",
                f"{CPU_DIR}/cpu0/acpi_cppc/nominal_perf": "160",
                f"{CPU_DIR}/cpu0/acpi_cppc/highest_perf": "240",
            },
            2_400_000,
            id="CPPC without frequencies",
        ),
    ],
)
def test_a_range_has_steps_of_100_mhz_below_nominal_and_one_above(
    tmp_path: Path, files: dict[str, str], nominal_khz: int
) -> None:
    steps = read_steps(tree_of(tmp_path, {**RANGE, **files}), 0)
    expected = (3_600_000, *range(nominal_khz, 599_999, -100_000))
    assert (steps.khz, steps.has_turbo) == (expected, True)
    assert steps.nominal_khz == nominal_khz


@pytest.mark.parametrize(
    "files",
    [
        {},
        {f"{POLICY}/base_frequency": "3600000"},
        # Kernels have shown a base frequency above the highest one.
        {f"{POLICY}/base_frequency": "9900000"},
        {f"{CPU_DIR}/cpu0/acpi_cppc/nominal_freq": "0"},
    ],
)
def test_without_a_nominal_frequency_below_the_highest_there_is_no_turbo(
    tmp_path: Path, files: dict[str, str]
) -> None:
    steps = read_steps(tree_of(tmp_path, {**RANGE, **files}), 0)
    assert (steps.khz[0], steps.khz[-1]) == (3_600_000, 600_000)
    assert not steps.has_turbo


def test_the_lowest_frequency_is_a_step_also_between_two_others(tmp_path: Path) -> None:
    files = {**RANGE, f"{POLICY}/cpuinfo_min_freq": "3450000"}
    steps = read_steps(tree_of(tmp_path, files), 0)
    assert steps.khz == (3_600_000, 3_500_000, 3_450_000)


def test_priority_cores_have_a_higher_nominal_frequency(tmp_path: Path) -> None:
    # Intel's SST-BF: base_frequency differs from CPU to CPU.
    files = {
        path.replace("policy0", f"policy{number}"): value
        for number in (0, 1)
        for path, value in RANGE.items()
    }
    for number, base in enumerate(("2700000", "2100000")):
        files[policy_path(number, "base_frequency")] = base
    tree = tree_of(tmp_path, files)
    nominal = [read_steps(tree, number).nominal_khz for number in (0, 1)]
    assert nominal == [2_700_000, 2_100_000]


def test_listed_frequencies_are_the_steps(tmp_path: Path) -> None:
    listed = {f"{POLICY}/scaling_available_frequencies": "2301000 2300000 1200000 "}
    steps = read_steps(tree_of(tmp_path, {**RANGE, **listed}), 0)
    assert (steps.khz, steps.has_turbo) == ((2_301_000, 2_300_000, 1_200_000), True)


def test_the_highest_boost_frequency_is_turbo(tmp_path: Path) -> None:
    listed = {
        f"{POLICY}/scaling_available_frequencies": "2000000 1000000 ",
        f"{POLICY}/scaling_boost_frequencies": "2200000 2500000 ",
    }
    steps = read_steps(tree_of(tmp_path, {**RANGE, **listed}), 0)
    assert (steps.khz, steps.has_turbo) == ((2_500_000, 2_000_000, 1_000_000), True)


@pytest.mark.parametrize("word", ["", "0", "fast", "-1"])
def test_a_range_without_an_end_has_no_steps(tmp_path: Path, word: str) -> None:
    files = {**RANGE, f"{POLICY}/cpuinfo_max_freq": word}
    with pytest.raises(NoCpufreqError, match="cpuinfo_max_freq"):
        read_steps(tree_of(tmp_path, files), 0)


def test_a_reversed_range_has_no_steps(tmp_path: Path) -> None:
    files = {**RANGE, f"{POLICY}/cpuinfo_max_freq": "500000"}
    with pytest.raises(NoCpufreqError, match="above its highest"):
        read_steps(tree_of(tmp_path, files), 0)


def test_a_policy_without_files_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(SysfsError):
        read_steps(CpuTree(tmp_path), 0)
