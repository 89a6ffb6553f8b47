# SPDX-License-Identifier: Apache-2.0
"""The files of held attributes in a tree of simulated CPUs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from orchestrator.power.attribute_kinds import (
    BOOST,
    ENERGY_PREFERENCE,
    IDLE_LATENCY,
    NO_TURBO,
)
from orchestrator.power.sysfs import CPU_DIR

if TYPE_CHECKING:
    from pathlib import Path

    from orchestrator.power.sysfs import CpuTree

IDLE_STATES = {"POLL": 0, "C1": 2, "C2": 50, "C3": 200}
"""Those of the kernel's acpi_idle with three states from the firmware, in us."""
PREFERENCES = "default performance balance_performance balance_power power "
"""As intel_pstate lists them, with a blank at the end."""
DIES = ("package_00_die_00", "package_01_die_00")


def add_everything(tree: CpuTree) -> None:
    """Add idle states, energy preferences and uncore frequencies."""
    add_idle_states(tree)
    add_preferences(tree)
    add_uncore(tree)


def add_idle_states(tree: CpuTree) -> None:
    """Give each CPU idle states and no limit of their latency."""
    for pcpu in sorted(tree.present()):
        _write(tree.root / IDLE_LATENCY.path_of(pcpu), "0")
        for number, (name, latency_us) in enumerate(IDLE_STATES.items()):
            state = tree.cpu_dir / f"cpu{pcpu}" / "cpuidle" / f"state{number}"
            _write(state / "name", name)
            _write(state / "latency", str(latency_us))


def add_preferences(tree: CpuTree, value: str = "balance_performance") -> None:
    """Give each clock group an energy preference, under governor powersave."""
    for policy in (tree.cpu_dir / "cpufreq").glob("policy*"):
        _write(policy / "energy_performance_preference", value)
        _write(policy / "energy_performance_available_preferences", PREFERENCES)
        _write(policy / "scaling_governor", "powersave")


def add_uncore(
    tree: CpuTree, low_khz: int = 1_200_000, high_khz: int = 2_400_000
) -> None:
    """Add two sockets with uncore frequencies."""
    for die in DIES:
        directory = tree.cpu_dir / "intel_uncore_frequency" / die
        _write(directory / "min_freq_khz", str(low_khz))
        _write(directory / "max_freq_khz", str(high_khz))


def add_no_turbo(tree: CpuTree) -> None:
    """Switch turbo as intel_pstate does, without cpufreq/boost."""
    (tree.root / BOOST.every).unlink()
    _write(tree.root / NO_TURBO.every, "0")


def uncore_path(name: str, die: str = DIES[0]) -> str:
    """Return the path of a file of a die."""
    return f"{CPU_DIR}/intel_uncore_frequency/{die}/{name}"


def change(tree: CpuTree, path: str, value: str) -> None:
    """Write as another program does."""
    (tree.root / path).write_text(f"{value}\n", encoding="ascii")


def recreate(tree: CpuTree, path: str, value: str) -> None:
    """Replace a file as a change of the scaling driver's mode does."""
    file = tree.root / path
    new = file.with_name("new")
    new.write_text(f"{value}\n", encoding="ascii")  # while the old one exists
    new.replace(file)


def value_of(tree: CpuTree, path: str) -> str:
    """Return what a file has in its first line: a plain one keeps more."""
    return tree.read(path)


def preference_path(number: int = 0) -> str:
    """Return the path of a clock group's energy preference."""
    return ENERGY_PREFERENCE.path_of(number)


def latency_path(pcpu: int = 0) -> str:
    """Return the path of a CPU's limit of the wake-up latency."""
    return IDLE_LATENCY.path_of(pcpu)


def _write(path: Path, value: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"{value}\n", encoding="ascii")
