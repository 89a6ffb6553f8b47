# SPDX-License-Identifier: Apache-2.0
"""Simulated CPUs: a directory on disk that looks like /sys with acpi-cpufreq.

It is for demonstrations, tests and machines without cpufreq. Its marker file makes
`simulated` true wherever its frequencies are shown. There is no kernel behind the
files: the frequency is what was last written, whatever the governor is, and no write is
refused.

Source: drivers/cpufreq/{cpufreq,acpi-cpufreq}.c of the kernel, which name the files
and their formats.
"""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING

from orchestrator.errors import ConfigError
from orchestrator.power.sysfs import CPU_DIR, MARKER, CpuTree
from orchestrator.values.cpuset import MAX_CPU, format_cpulist
from orchestrator.values.frequencies import FrequencyTable, table_from

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

__all__ = ["DEFAULT_STEPS_KHZ", "GOVERNORS", "MARKER", "lay_out", "switch_cpu"]

DEFAULT_STEPS_KHZ = (
    3_001_000,
    3_000_000,
    2_700_000,
    2_400_000,
    2_100_000,
    1_800_000,
    1_500_000,
    1_200_000,
)
"""Turbo, nominal and six more steps, in the range of current servers."""
GOVERNORS = (
    "conservative",
    "ondemand",
    "userspace",
    "powersave",
    "performance",
    "schedutil",
)
"""Those of a Debian kernel with all modules loaded, in the same order."""


def lay_out(
    directory: Path,
    *,
    cpus: int,
    shared: int = 1,
    sockets: int = 1,
    steps_khz: Sequence[int] = DEFAULT_STEPS_KHZ,
    governor: str = "schedutil",
) -> None:
    """Create a tree of simulated CPUs in a new or empty directory.

    Args:
        directory: root of the tree; created if it does not exist.
        cpus: number of CPUs, numbered from 0, all online.
        shared: CPUs per clock group; the last group may be smaller.
        sockets: number of sockets, each a NUMA node, among which the clock groups are
            divided evenly.
        steps_khz: frequencies of every clock group, in any order.
        governor: active governor of every group.

    Raises:
        ConfigError: an argument is invalid, or the directory is not empty or cannot be
            written.
    """
    steps = _check(cpus, shared, steps_khz, governor)
    if sockets < 1:
        raise ConfigError(f"invalid number of sockets {sockets}: expected 1 or more")
    root = directory / CPU_DIR
    try:
        if directory.exists() and any(directory.iterdir()):
            raise ConfigError(
                f"{directory} is not empty", hint="give a directory that does not exist"
            )
        root.mkdir(parents=True)
        _write_lists(root, cpus)
        for first in range(0, cpus, shared):
            group = range(first, min(first + shared, cpus))
            _write_policy(root, group, steps, governor)
            _write_cpus(root, group, first * sockets // cpus)
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


def _check(
    cpus: int, shared: int, steps_khz: Sequence[int], governor: str
) -> FrequencyTable:
    if not 1 <= cpus <= MAX_CPU + 1:
        raise ConfigError(f"invalid number of CPUs {cpus}: expected 1 to {MAX_CPU + 1}")
    if shared < 1:
        raise ConfigError(
            f"invalid number of CPUs per clock group {shared}: expected 1 or more"
        )
    if governor not in GOVERNORS:
        raise ConfigError(
            f"invalid governor '{governor}': expected one of {', '.join(GOVERNORS)}"
        )
    try:
        return table_from(steps_khz)
    except ValueError as error:
        raise ConfigError("no steps: expected at least one frequency") from error


def _write_lists(root: Path, cpus: int) -> None:
    for name in ("online", "possible", "present"):
        _write(root / name, format_cpulist(range(cpus)))
    _write(root / "offline", "")
    (root / "cpufreq").mkdir()
    _write(root / "cpufreq" / "boost", "1")


def _write_cpus(root: Path, group: range, socket: int) -> None:
    for pcpu in group:
        cpu = root / f"cpu{pcpu}"
        (cpu / f"node{socket}").mkdir(parents=True)
        (cpu / "topology").mkdir()
        _write(cpu / "topology" / "physical_package_id", str(socket))
        _write(cpu / "topology" / "thread_siblings_list", str(pcpu))
        (cpu / "cpufreq").symlink_to(f"../cpufreq/policy{group.start}")
        if pcpu:  # as in the kernel, where CPU 0 has no such file
            _write(cpu / "online", "1")


def _write_policy(
    root: Path, group: range, steps: FrequencyTable, governor: str
) -> None:
    policy = root / "cpufreq" / f"policy{group.start}"
    policy.mkdir()
    values = {
        "affected_cpus": _words(group).rstrip(),
        "bios_limit": str(steps.highest_khz),
        "cpuinfo_max_freq": str(steps.highest_khz),
        "cpuinfo_min_freq": str(steps.lowest_khz),
        "cpuinfo_transition_latency": "10000",
        "freqdomain_cpus": _words(group).rstrip(),
        "related_cpus": _words(group).rstrip(),
        "scaling_available_frequencies": _words(steps.khz),
        "scaling_available_governors": _words(GOVERNORS),
        "scaling_driver": "acpi-cpufreq",
        "scaling_governor": governor,
        "scaling_max_freq": str(steps.highest_khz),
        "scaling_min_freq": str(steps.lowest_khz),
        "scaling_setspeed": str(steps.nominal_khz),
    }
    for name, value in values.items():
        _write(policy / name, value)
    # So that a written frequency becomes the current one.
    (policy / "scaling_cur_freq").symlink_to("scaling_setspeed")


def _words(words: Iterable[object]) -> str:
    # In tables, the kernel prints a space after the last word.
    return "".join(f"{word} " for word in words)


def _write(path: Path, value: str) -> None:
    path.write_text(f"{value}\n", encoding="ascii")
