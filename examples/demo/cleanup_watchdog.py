# SPDX-License-Identifier: Apache-2.0
"""Cleans up after a demo that was killed.

A shell process waits for the end of its standard input, which the kernel closes however
the demo ends; a line on it means that there is nothing to do. Otherwise QEMU would keep
running: it has no terminal, and libvirt makes it wait for libvirt even after its guest
has powered off.
"""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

_DISMISS = b"done\n"
_SCRIPT = """\
trap '' INT TERM HUP
read -r word && exit
for file in "$1"/run/qemu/*.pid; do
    read -r pid <"$file"
    # The PID may have been reused.
    grep -q "$1" "/proc/$pid/cmdline" 2>/dev/null && kill -9 "$pid"
done
rm -rf "$1"
"""


class CleanupWatchdog:
    """Cleans up one directory of the embedded driver, unless it is dismissed.

    Synchronization: one thread.
    """

    def __init__(self, directory: Path) -> None:
        self._process = subprocess.Popen(
            ["sh", "-c", _SCRIPT, "sh", str(directory)],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            cwd="/",
        )

    def dismiss(self) -> None:
        """End the watchdog: everything is cleaned up already."""
        self._process.communicate(_DISMISS)
