# SPDX-License-Identifier: Apache-2.0
"""Whether a switch turns turbo off, on the files of each scaling driver."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from orchestrator.power.simulated import lay_out
from orchestrator.power.sysfs import CpuTree
from orchestrator.power.turbo_switches import TurboSwitches

if TYPE_CHECKING:
    from pathlib import Path


def find(tree: CpuTree) -> str:
    switches = TurboSwitches(tree)
    return switches.find(0, switches.find_for_all())


@pytest.mark.parametrize("driver", ["amd-pstate", "amd-pstate-epp", "cppc_cpufreq"])
@pytest.mark.parametrize("name", ["boost", "policy0/boost"])
def test_a_boost_switch_counts_if_turbo_is_not_in_the_range(
    tmp_path: Path, driver: str, name: str
) -> None:
    """The file reads 0 also where the driver has no such switch."""
    lay_out(tmp_path / "sys", cpus=2, driver=driver)
    tree = CpuTree(tmp_path / "sys")
    cpufreq = tree.cpu_dir / "cpufreq"
    for own in cpufreq.glob("policy*/boost"):
        own.write_text("1\n")
    (cpufreq / "boost").write_text("1\n")
    (cpufreq / name).write_text("0\n")
    highest = cpufreq / "policy0/cpuinfo_max_freq"
    nominal_khz = tree.read_khz("devices/system/cpu/cpu0/acpi_cppc/nominal_freq")
    assert nominal_khz is not None
    highest.write_text("9000000\n")
    assert find(tree) == ""
    highest.write_text(f"{nominal_khz * 1000}\n")
    assert find(tree) == (name if name != "boost" else "cpufreq/boost")


def test_no_turbo_counts_although_turbo_is_in_the_range(tmp_path: Path) -> None:
    # Linux 6.1 shows the same range.
    lay_out(tmp_path / "sys", cpus=1, driver="intel_pstate")
    tree = CpuTree(tmp_path / "sys")
    assert find(tree) == ""
    (tree.cpu_dir / "intel_pstate/no_turbo").write_text("1\n")
    assert find(tree) == "intel_pstate/no_turbo"
