# SPDX-License-Identifier: Apache-2.0
"""Whether systemd has a unit for the daemon, for hints that name a command.

Source: systemd.unit(5), "Unit File Load Path". vmpower can also be installed without a
unit.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

UNIT = "vmpowerd.service"
_DIRECTORIES = (
    "/etc/systemd/system",
    "/run/systemd/system",
    "/usr/local/lib/systemd/system",
    "/usr/lib/systemd/system",
    "/lib/systemd/system",
)


def start_command(directories: Iterable[str] = _DIRECTORIES) -> str:
    """Return the command that starts the daemon: systemctl's if it has a unit."""
    is_installed = any(os.path.exists(os.path.join(d, UNIT)) for d in directories)  # noqa: PTH110, PTH118 - pathlib takes 10 ms to import
    return "systemctl start vmpowerd" if is_installed else "vmpowerd"
