# SPDX-License-Identifier: Apache-2.0
"""The QEMU process of a domain, from the file that libvirt writes.

Source: virPidFileBuildPath and qemuStateDir of libvirt: NAME.pid in /run/libvirt/qemu,
and in ROOT/run/qemu for the embedded driver.
"""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

_SYSTEM = Path("/run/libvirt/qemu")


class QemuProcesses:
    """The QEMU processes of a libvirt's domains.

    Synchronization: any thread.
    """

    def __init__(self, uri: str) -> None:
        """Find the directory of the files.

        Args:
            uri: a valid one. Unknown are domains of a session and of the test driver,
                and those of a libvirt whose socket the URI names: its files can be
                elsewhere.
        """
        self._directory = _find_directory(uri)

    def find(self, name: str) -> int | None:
        """Return the process ID of the running domain of a name; None: unknown."""
        if self._directory is None:
            return None
        with suppress(OSError, ValueError):
            return int((self._directory / f"{name}.pid").read_text())
        return None


def _find_directory(uri: str) -> Path | None:
    parts = urlsplit(uri)
    options = parse_qs(parts.query)
    if not parts.scheme.startswith("qemu") or "socket" in options:
        return None
    if parts.path == "/embed":
        return Path(options.get("root", [""])[-1]) / "run/qemu"
    return _SYSTEM if parts.path == "/system" else None
