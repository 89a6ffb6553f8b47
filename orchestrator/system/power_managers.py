# SPDX-License-Identifier: Apache-2.0
"""Other programs that change governors and frequencies while they run."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

_DPDK_HOST = "DPDK's vm_power_manager", ""
KNOWN = {
    "tuned": ("TuneD", "tuned"),
    "power-profiles-": ("power-profiles-daemon", "power-profiles-daemon"),
    "auto-cpufreq": ("auto-cpufreq", "auto-cpufreq"),
    "cpufreqd": ("cpufreqd", "cpufreqd"),
    "vm_power_manage": _DPDK_HOST,
    "dpdk-vm_power_m": _DPDK_HOST,
    "nodeagent": ("Kubernetes Power Manager", ""),
}
"""Name and systemd unit by the process name, which the kernel truncates to 15 bytes."""
_INTERPRETER = "python"


@dataclass(frozen=True, slots=True)
class PowerManager:
    """A running power manager."""

    name: str
    pid: int
    unit: str = ""
    """Its systemd unit; empty: it has none."""


def find_running(
    proc: Path, known: Mapping[str, tuple[str, str]] = KNOWN
) -> Iterator[PowerManager]:
    """Yield the known power managers that run, each once.

    Args:
        proc: the directory of processes, /proc.
        known: which; see `KNOWN`.
    """
    seen = set()
    for directory in sorted(proc.glob("[0-9]*")):
        with contextlib.suppress(OSError, UnicodeDecodeError):  # it has exited
            name, unit = known.get(_program(directory), ("", ""))
            if name and name not in seen:
                seen.add(name)
                yield PowerManager(name, int(directory.name), unit)


def _program(directory: Path) -> str:
    """Return the name of a process; of an interpreter, that of its script.

    auto-cpufreq's unit starts the interpreter with the script as its argument, and the
    process has the interpreter's name then.
    """
    comm = (directory / "comm").read_text(encoding="ascii").strip()
    if not comm.startswith(_INTERPRETER):
        return comm
    words = (directory / "cmdline").read_bytes().decode("utf-8", "replace").split("\0")
    script = next((word for word in words[1:] if not word.startswith("-")), "")
    return script.rpartition("/")[2][:15]
