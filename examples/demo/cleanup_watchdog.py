"""Cleans up after a demo that was killed and could not do it itself.

A small shell waits for the end of its standard input, which the kernel closes however
we end. It is told when there is nothing to do. QEMU would stay otherwise: it belongs to
no terminal, and libvirt has it wait for libvirt even when its guest has powered off.
"""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

_ALL_IS_WELL = b"well\n"
_SCRIPT = """\
trap '' INT TERM HUP
read -r word && exit
for file in "$1"/run/qemu/*.pid; do
    read -r pid <"$file"
    # The number may be somebody else's by now.
    grep -q "$1" "/proc/$pid/cmdline" 2>/dev/null && kill -9 "$pid"
done
rm -rf "$1"
"""


class CleanupWatchdog:
    """Watches over one directory of the embedded driver until it is dismissed.

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
        """Say that everything is cleaned up already."""
        self._process.communicate(_ALL_IS_WELL)
