# SPDX-License-Identifier: Apache-2.0
"""Reads which frequencies a cpufreq policy offers, and which of them is turbo.

acpi-cpufreq and others list them. The rest accepts any frequency between two ends: the
steps are then 100 MHz apart, counted from the nominal frequency downwards, and above it
there is one step, the highest frequency. DPDK's intel_pstate and cppc environments use
the same steps, so that a guest's UP and DOWN mean the same.

Source: drivers/cpufreq/{intel_pstate,amd-pstate,cppc_cpufreq}.c and
drivers/acpi/cppc_acpi.c of the kernel; lib/power/power_pstate_cpufreq.c and
power_cppc_cpufreq.c of DPDK.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from orchestrator.errors import NoCpufreqError, SysfsError
from orchestrator.power.sysfs import CPU_DIR, policy_path
from orchestrator.values.frequencies import table_from

if TYPE_CHECKING:
    from collections.abc import Callable

    from orchestrator.power.sysfs import CpuTree
    from orchestrator.values.frequencies import FrequencyTable

STEP_KHZ = 100_000
_AVAILABLE = "scaling_available_frequencies"
_BOOST = "scaling_boost_frequencies"


def has_list(tree: CpuTree, number: int) -> bool:
    """Whether policyN lists its frequencies; otherwise it has a range."""
    return (tree.root / policy_path(number, _AVAILABLE)).exists()


def read_steps(tree: CpuTree, number: int) -> FrequencyTable:
    """Read the frequencies of policyN.

    Raises:
        SysfsError: a file could not be read.
        NoCpufreqError: no frequency can be set.
    """
    read = _read_list if has_list(tree, number) else _read_range
    return read(tree, number)


def _read_list(tree: CpuTree, number: int) -> FrequencyTable:
    available = tree.read(policy_path(number, _AVAILABLE))
    boost = _numbers(_read_optional(tree, policy_path(number, _BOOST)))
    try:
        steps = _numbers(available)
        if boost:
            return table_from([*steps, max(boost)], has_turbo=True)
        return table_from(steps)
    except ValueError as error:
        raise NoCpufreqError(f"{_AVAILABLE} of policy{number}: {error}") from error


def _read_range(tree: CpuTree, number: int) -> FrequencyTable:
    low_khz, high_khz = (_read_end(tree, number, end) for end in ("min", "max"))
    if low_khz > high_khz:
        raise NoCpufreqError(
            f"policy{number}: its lowest frequency is above its highest:"
            f" {low_khz} and {high_khz} kHz"
        )
    nominal_khz = _read_nominal_khz(tree, number, low_khz, high_khz)
    steps = range(nominal_khz, low_khz, -STEP_KHZ)
    return table_from(
        [high_khz, *steps, low_khz], has_turbo=low_khz < nominal_khz < high_khz
    )


def _read_end(tree: CpuTree, number: int, end: str) -> int:
    path = policy_path(number, f"cpuinfo_{end}_freq")
    word = tree.read(path)
    if not (word.isascii() and word.isdigit() and int(word)):
        raise NoCpufreqError(f"{path}: invalid frequency '{word}'")
    return int(word)


def _read_nominal_khz(tree: CpuTree, number: int, low_khz: int, high_khz: int) -> int:
    """Read the highest frequency without turbo from the first source that knows it."""
    for read in _NOMINAL_SOURCES:
        nominal_khz = read(tree, number, low_khz, high_khz)
        if nominal_khz is not None and low_khz <= nominal_khz <= high_khz:
            return nominal_khz
    return high_khz


def _read_base_khz(tree: CpuTree, number: int, _low: int, _high: int) -> int | None:
    """intel_pstate with HWP; with SST-BF, it is higher on some CPUs."""
    return tree.read_khz(policy_path(number, "base_frequency"))


def _read_cppc_khz(tree: CpuTree, number: int, _low: int, high_khz: int) -> int | None:
    """amd-pstate and cppc_cpufreq, from the tables of the firmware.

    Not every firmware gives frequencies; performance levels it always gives.
    """
    mhz = _read_cppc(tree, number, "nominal_freq")
    if mhz:
        return mhz * 1_000
    nominal, highest = (
        _read_cppc(tree, number, f"{name}_perf") for name in ("nominal", "highest")
    )
    if not nominal or not highest or nominal >= highest:
        return None
    return high_khz * nominal // highest


def _read_cppc(tree: CpuTree, number: int, name: str) -> int | None:
    # A policy has the number of one of its CPUs.
    return tree.read_khz(f"{CPU_DIR}/cpu{number}/acpi_cppc/{name}")


def _read_turbo_pct(
    tree: CpuTree, _number: int, low_khz: int, _high: int
) -> int | None:
    """intel_pstate without HWP, by the part of the P-states that is turbo."""
    percent, states = (
        tree.read_khz(f"{CPU_DIR}/intel_pstate/{name}")
        for name in ("turbo_pct", "num_pstates")
    )
    if percent is None or states is None:
        return None
    without_turbo = round(states * (100 - percent) / 100)
    return low_khz + (without_turbo - 1) * STEP_KHZ


_NOMINAL_SOURCES: tuple[Callable[[CpuTree, int, int, int], int | None], ...] = (
    _read_base_khz,
    _read_cppc_khz,
    _read_turbo_pct,
)


def _read_optional(tree: CpuTree, path: str) -> str:
    try:
        return tree.read(path)
    except SysfsError:
        return ""


def _numbers(words: str) -> list[int]:
    return [int(word) for word in words.split()]
