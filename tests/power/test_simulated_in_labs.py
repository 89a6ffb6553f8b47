# SPDX-License-Identifier: Apache-2.0
"""Simulated trees have the files of Linux's own drivers, with the same values."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from orchestrator.power.simulated import lay_out
from orchestrator.power.sysfs import CPU_DIR
from tests.rig.lab import run_in_lab
from tests.rig.labs import (
    ACPI_CPUFREQ,
    AMD_ACTIVE,
    CPPC_ARM,
    IDLE_STATES,
    UNCORE,
)

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from tests.rig.labs import Lab

pytestmark = pytest.mark.lab

# Set in the lab, where the hardware is another one.
OF_THE_LAB = {
    "acpi_cppc/feedback_ctrs",  # EFAULT: no counters
    "acpi_cppc/reference_perf",
    "acpi_cppc/wraparound_time",
    "boost",  # not supported
    "cpuinfo_cur_freq",
    "cpuinfo_transition_latency",
    "scaling_available_frequencies",
    "scaling_available_governors",
    "scaling_cur_freq",
    "scaling_setspeed",  # <unsupported> until the governor is userspace
    "current_freq_khz",
}
LIST = """
import json
from pathlib import Path

found = {}
root = Path("/sys/devices/system/cpu")
for path in (p for name in %r for p in sorted((root / name).iterdir())):
    if path.is_file():
        try:
            found[str(path.relative_to(root))] = path.read_text()
        except OSError:
            found[str(path.relative_to(root))] = ""
print("FILES", json.dumps(found))
"""
AMD = ("amd_pstate", "cpu1/acpi_cppc")
# Not in Linux 6.1, which the lab on Arm has under Debian 12.
NEWER_ON_ARM = {"cpufreq/policy1/boost", "cpu1/acpi_cppc/guaranteed_perf"}
OTHER_ON_ARM = {"cpu1/acpi_cppc/highest_perf"}


# The other simulated drivers differ from these in a few values.
@pytest.mark.parametrize(
    ("lab", "driver", "directories"),
    [
        (ACPI_CPUFREQ, "acpi-cpufreq", ()),
        (AMD_ACTIVE, "amd-pstate-epp", AMD),
        (
            UNCORE,
            "intel_pstate",
            ("intel_pstate", "intel_uncore_frequency/package_00_die_00"),
        ),
        (CPPC_ARM, "cppc_cpufreq", ("cpu1/acpi_cppc",)),
    ],
    ids=str,
)
def test_a_simulated_driver_has_the_files_of_the_kernel_s(
    tmp_path: Path, lab: Lab, driver: str, directories: Sequence[str]
) -> None:
    names = ("cpufreq/policy1", *directories)
    real = list_files(lab, names)
    governor = real["cpufreq/policy1/scaling_governor"].strip()
    lay_out(tmp_path, cpus=4, driver=driver, governor=governor)
    root = tmp_path / CPU_DIR
    paths = [path for name in names for path in (root / name).iterdir()]
    simulated = {str(path.relative_to(root)): path.read_text() for path in paths}
    is_arm = lab is CPPC_ARM
    newer = NEWER_ON_ARM if is_arm else set()
    assert real.keys() in (simulated.keys(), simulated.keys() - newer)
    differing = {
        name: value
        for name, value in real.items()
        if value != simulated[name]
        and not any(name.endswith(f"/{known}") for known in OF_THE_LAB)
    }
    assert differing.keys() == (OTHER_ON_ARM if is_arm else set()), differing
    word = "cpufreq/policy1/scaling_available_governors"
    assert set(real[word].split()) == set(simulated[word].split())
    assert real[word].endswith(" \n") == simulated[word].endswith(" \n")


def test_simulated_idle_states_have_files_and_latencies_of_the_kernel_s(
    tmp_path: Path,
) -> None:
    directories = [f"cpu1/cpuidle/state{n}" for n in range(4)]
    real = list_files(IDLE_STATES, (*directories, "cpu1/power"))
    lay_out(tmp_path, cpus=4)
    names = ("name", "disable", "latency", "residency")
    for name in (f"{directory}/{name}" for directory in directories for name in names):
        assert (tmp_path / CPU_DIR / name).read_text() == real[name]
    name = "cpu1/power/pm_qos_resume_latency_us"
    assert (tmp_path / CPU_DIR / name).read_text() == real[name]


def list_files(lab: Lab, directories: Sequence[str]) -> dict[str, str]:
    """Read all files of directories of a lab's CPUs."""
    output = run_in_lab(LIST % (tuple(directories),), lab=lab).output
    line = next(line for line in output.splitlines() if line.startswith("FILES "))
    found: dict[str, str] = json.loads(line.removeprefix("FILES "))
    return found
