# SPDX-License-Identifier: Apache-2.0
"""Other programs that change governors and frequencies while they run."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_KNOWN = {
    "tuned": "TuneD",
    "power-profiles-": "power-profiles-daemon",
    "auto-cpufreq": "auto-cpufreq",
    "cpufreqd": "cpufreqd",
    "vm_power_manage": "DPDK's vm_power_manager",
    "dpdk-vm_power_m": "DPDK's vm_power_manager",
}
"""By the process name, which the kernel truncates to 15 bytes."""


@dataclass(frozen=True, slots=True)
class PowerManager:
    """A running power manager."""

    name: str
    pid: int


def find_running(proc: Path) -> Iterator[PowerManager]:
    """Yield the known power managers that run, each once.

    Args:
        proc: the directory of processes, /proc.
    """
    seen = set()
    for directory in sorted(proc.glob("[0-9]*")):
        with contextlib.suppress(OSError, UnicodeDecodeError):  # it has exited
            comm = (directory / "comm").read_text(encoding="ascii").strip()
            name = _KNOWN.get(comm)
            if name and name not in seen:
                seen.add(name)
                yield PowerManager(name, int(directory.name))
