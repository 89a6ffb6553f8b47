# SPDX-License-Identifier: Apache-2.0
"""Commands that control the daemon, for hints: systemd's if it has a unit.

Source: systemd.unit(5), "Unit File Load Path"; systemd puts the processes of a unit
into a control group of its name. vmpower can also be installed, or started, without a
unit.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

UNIT = "vmpowerd.service"
UNIT_DIRECTORIES = (
    "/etc/systemd/system",
    "/run/systemd/system",
    "/usr/local/lib/systemd/system",
    "/usr/lib/systemd/system",
    "/lib/systemd/system",
)
"""The first one with a unit decides."""


def start_command(directories: Iterable[str] = UNIT_DIRECTORIES) -> str:
    """Return the command that starts the daemon."""
    return "systemctl start vmpowerd" if has_unit(directories) else "vmpowerd"


def restart_advice(*, is_unit: bool) -> str:
    """Return how to restart a daemon.

    Args:
        is_unit: systemd runs it, or has a unit for it if it does not run.
    """
    if is_unit:
        return "systemctl restart vmpowerd"
    return "stop vmpowerd, then start it again"


def log_advice(*, is_unit: bool) -> str:
    """Return where a daemon's log is; see `restart_advice`."""
    if is_unit:
        return "see 'journalctl -u vmpowerd'"
    return "see its log, which it writes to standard error"


def has_unit(
    directories: Iterable[str] = UNIT_DIRECTORIES, *, unit: str = UNIT
) -> bool:
    """Return whether systemd has a unit, by default that of the daemon."""
    return any(os.path.exists(os.path.join(d, unit)) for d in directories)  # noqa: PTH110, PTH118 - pathlib takes 10 ms to import


def runs_in_unit(control_groups: str) -> bool:
    """Return whether systemd runs a process as the unit.

    Args:
        control_groups: of the process: its /proc/PID/cgroup.
    """
    return any(UNIT in line.split("/") for line in control_groups.splitlines())
