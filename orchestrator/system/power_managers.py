# SPDX-License-Identifier: Apache-2.0
"""Other programs that change governors and frequencies while they run."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_DPDK_HOST = "DPDK's vm_power_manager", ""
_KNOWN = {
    "tuned": ("TuneD", "tuned"),
    "power-profiles-": ("power-profiles-daemon", "power-profiles-daemon"),
    "auto-cpufreq": ("auto-cpufreq", "auto-cpufreq"),
    "cpufreqd": ("cpufreqd", "cpufreqd"),
    "vm_power_manage": _DPDK_HOST,
    "dpdk-vm_power_m": _DPDK_HOST,
    "nodeagent": ("Kubernetes Power Manager", ""),
}
"""Name and systemd unit by the process name, which the kernel truncates to 15 bytes."""


@dataclass(frozen=True, slots=True)
class PowerManager:
    """A running power manager."""

    name: str
    pid: int
    unit: str = ""
    """Its systemd unit; empty: it has none."""


def find_running(proc: Path) -> Iterator[PowerManager]:
    """Yield the known power managers that run, each once.

    Args:
        proc: the directory of processes, /proc.
    """
    seen = set()
    for directory in sorted(proc.glob("[0-9]*")):
        with contextlib.suppress(OSError, UnicodeDecodeError):  # it has exited
            comm = (directory / "comm").read_text(encoding="ascii").strip()
            name, unit = _KNOWN.get(comm, ("", ""))
            if name and name not in seen:
                seen.add(name)
                yield PowerManager(name, int(directory.name), unit)
