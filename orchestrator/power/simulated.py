# SPDX-License-Identifier: Apache-2.0
"""Simulated CPUs: a directory on disk that looks like /sys with a scaling driver.

It is for demonstrations, tests and machines without cpufreq. Its marker file makes
`simulated` true wherever its frequencies are shown. There is no kernel behind the
files: the current frequency is what was last written, whatever the governor is, and no
write is refused. `simulated_drivers` has the files of each driver, and names the
differences.

Source: drivers/cpufreq/cpufreq.c of the kernel, which names the files that all drivers
have, and their formats.
"""

from __future__ import annotations

import uuid
from dataclasses import replace
from typing import TYPE_CHECKING

from orchestrator.errors import ConfigError
from orchestrator.power.simulated_drivers import DEFAULT_DRIVER, find_simulated
from orchestrator.power.sysfs import CPU_DIR, MARKER, CpuTree
from orchestrator.values.cpuset import MAX_CPU, format_cpulist
from orchestrator.values.frequencies import table_from

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from pathlib import Path

    from orchestrator.power.simulated_drivers import IdleState, SimulatedDriver

__all__ = ["MARKER", "lay_out", "switch_cpu"]


def lay_out(  # noqa: PLR0913 - what differs between trees
    directory: Path,
    *,
    cpus: int,
    shared: int = 1,
    sockets: int = 1,
    driver: str = DEFAULT_DRIVER,
    steps_khz: Sequence[int] | None = None,
    governor: str | None = None,
) -> None:
    """Create a tree of simulated CPUs in a new or empty directory.

    Args:
        directory: root of the tree; created if it does not exist.
        cpus: number of CPUs, numbered from 0, all online.
        shared: CPUs per clock group; the last group may be smaller.
        sockets: number of sockets, each a NUMA node, among which the clock groups are
            divided evenly.
        driver: one of `SIMULATED_DRIVERS`.
        steps_khz: table of every clock group, in any order; None: the driver's.
        governor: active governor of every group; None: the driver's.

    Raises:
        ConfigError: an argument is invalid, or the directory is not empty or cannot be
            written.
    """
    simulated = find_simulated(driver)
    if steps_khz is not None:
        simulated = _with_steps(simulated, steps_khz)
    if governor is None:
        governor = simulated.default_governor
    _check(simulated, cpus, shared, sockets, governor)
    root = directory / CPU_DIR
    try:
        if directory.exists() and any(directory.iterdir()):
            raise ConfigError(
                f"{directory} is not empty", hint="give a directory that does not exist"
            )
        root.mkdir(parents=True)
        _write_files(root, _system_files(simulated, cpus, sockets))
        for first in range(0, cpus, shared):
            group = range(first, min(first + shared, cpus))
            _write_policy(root, group, simulated, governor)
            _write_cpus(root, group, simulated, first * sockets // cpus)
        # Last, so that a partially written tree is not used.
        marker = directory / MARKER
        _write(marker, str(uuid.uuid4()))
        marker.chmod(0o600)  # the right to open it is the right to lock the tree
    except OSError as error:
        raise ConfigError(
            f"cannot write {directory}: {error.strerror}",
            hint="give a directory that you may write, such as ./cpus",
        ) from error


def switch_cpu(directory: Path, pcpu: int, *, is_online: bool) -> None:
    """Take a simulated CPU offline or online, in all files that show it.

    Raises:
        ConfigError: no such simulated CPU.
    """
    root = directory / CPU_DIR
    tree = CpuTree(directory)
    if not tree.is_simulated or pcpu not in tree.present():
        raise ConfigError(f"no such simulated CPU in {directory}: {pcpu}")
    online = set[int](tree.online())
    (online.add if is_online else online.discard)(pcpu)
    _write(root / "online", format_cpulist(online))
    _write(root / "offline", format_cpulist(tree.present() - online).strip("-"))
    _write(root / f"cpu{pcpu}" / "online", str(int(is_online)))
    policy = root / f"cpu{pcpu}" / "cpufreq"
    related = (policy / "related_cpus").read_text(encoding="ascii").split()
    affected = [word for word in related if int(word) in online]
    _write(policy / "affected_cpus", " ".join(affected))


def _with_steps(
    simulated: SimulatedDriver, steps_khz: Sequence[int]
) -> SimulatedDriver:
    if not simulated.has_table:
        raise ConfigError(
            f"invalid steps: {simulated.scaling_driver} has no table of steps"
        )
    try:
        return replace(simulated, steps=table_from(steps_khz))
    except ValueError as error:
        raise ConfigError("no steps: expected at least one frequency") from error


def _check(
    simulated: SimulatedDriver, cpus: int, shared: int, sockets: int, governor: str
) -> None:
    if not 1 <= cpus <= MAX_CPU + 1:
        raise ConfigError(f"invalid number of CPUs {cpus}: expected 1 to {MAX_CPU + 1}")
    if shared < 1:
        raise ConfigError(
            f"invalid number of CPUs per clock group {shared}: expected 1 or more"
        )
    if shared > 1 and not simulated.can_share:
        raise ConfigError(
            f"invalid number of CPUs per clock group {shared}: expected 1 with"
            f" {simulated.scaling_driver}"
        )
    if sockets < 1:
        raise ConfigError(f"invalid number of sockets {sockets}: expected 1 or more")
    if governor not in simulated.governors:
        known = ", ".join(simulated.governors)
        raise ConfigError(f"invalid governor '{governor}': expected one of {known}")


def _system_files(
    simulated: SimulatedDriver, cpus: int, sockets: int
) -> dict[str, str]:
    """Return the files that are not of one CPU or policy."""
    lists = dict.fromkeys(
        ("online", "possible", "present"), format_cpulist(range(cpus))
    )
    uncore = {
        f"intel_uncore_frequency/package_{socket:02}_die_00/{name}": value
        for socket in range(sockets)
        for name, value in simulated.package.items()
    }
    cpuidle = {
        "cpuidle/available_governors": "ladder menu ",
        "cpuidle/current_driver": "acpi_idle",
        "cpuidle/current_governor": "menu",
        "cpuidle/current_governor_ro": "menu",
    }
    return {**lists, "offline": "", **simulated.system, **uncore, **cpuidle}


def _write_cpus(
    root: Path, group: range, simulated: SimulatedDriver, socket: int
) -> None:
    for pcpu in group:
        cpu = root / f"cpu{pcpu}"
        (cpu / f"node{socket}").mkdir(parents=True)
        (cpu / "cpufreq").symlink_to(f"../cpufreq/policy{group.start}")
        files = {
            "power/pm_qos_resume_latency_us": "0",
            "topology/physical_package_id": str(socket),
            "topology/thread_siblings_list": str(pcpu),
            **simulated.cpu,
        }
        if pcpu:  # as in the kernel, where CPU 0 has no such file
            files["online"] = "1"
        for number, state in enumerate(simulated.idle):
            files |= _idle_files(f"cpuidle/state{number}", state)
        _write_files(cpu, files)


def _idle_files(directory: str, state: IdleState) -> dict[str, str]:
    values = {
        "desc": state.description,
        "disable": "0",
        "latency": str(state.latency_us),
        "name": state.name,
        "residency": str(state.residency_us),
        "time": "0",
        "usage": "0",
    }
    return {f"{directory}/{name}": value for name, value in values.items()}


def _write_policy(
    root: Path, group: range, simulated: SimulatedDriver, governor: str
) -> None:
    policy = root / "cpufreq" / f"policy{group.start}"
    _write_files(policy, _policy_files(group, simulated, governor))
    # So that a written frequency becomes the current one.
    for name in simulated.current_files:
        (policy / name).symlink_to(simulated.frequency_file)


def _policy_files(
    group: range, simulated: SimulatedDriver, governor: str
) -> dict[str, str]:
    steps = simulated.steps
    files = dict.fromkeys(simulated.cpu_lists, _words(group).rstrip())
    files |= {
        "cpuinfo_max_freq": str(steps.highest_khz),
        "cpuinfo_min_freq": str(steps.lowest_khz),
        "cpuinfo_transition_latency": str(simulated.latency_ns),
        "scaling_available_governors": " ".join(simulated.governors),
        "scaling_driver": simulated.scaling_driver,
        "scaling_governor": governor,
        "scaling_max_freq": str(steps.highest_khz),
        "scaling_min_freq": str(steps.lowest_khz),
        "scaling_setspeed": "<unsupported>",
    }
    if simulated.has_governors:
        files["scaling_available_governors"] = _words(simulated.governors)
        files["scaling_setspeed"] = str(steps.nominal_khz)
    if simulated.has_table:
        files["bios_limit"] = str(steps.highest_khz)
        files["scaling_available_frequencies"] = _words(steps.khz)
    files |= simulated.policy
    if governor == "performance":
        files |= simulated.under_performance
    return files


def _words(words: Iterable[object]) -> str:
    # In tables, the kernel prints a space after the last word.
    return "".join(f"{word} " for word in words)


def _write_files(directory: Path, files: Mapping[str, str]) -> None:
    """Write files, with the directories that they are in."""
    paths = {directory / name: value for name, value in files.items()}
    for parent in {path.parent for path in paths}:
        parent.mkdir(parents=True, exist_ok=True)
    for path, value in paths.items():
        _write(path, value)


def _write(path: Path, value: str) -> None:
    path.write_text(f"{value}\n", encoding="ascii")
