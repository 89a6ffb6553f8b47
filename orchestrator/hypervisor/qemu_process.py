# SPDX-License-Identifier: Apache-2.0
"""The QEMU process of a domain, from the file that libvirt writes.

Source: virPidFileBuildPath and virQEMUDriverConfigNew (stateDir) of libvirt: NAME.pid
in qemu/ beside the socket of the system's libvirt, in qemu/run/ beside that of a
session, and in ROOT/run/qemu for the embedded driver. The test driver has no processes;
beside the file that it reads, a program that plays guests may name its own.
"""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

_SYSTEM = Path("/run/libvirt")


class QemuProcesses:
    """The QEMU processes of a libvirt's domains.

    Synchronization: any thread.
    """

    def __init__(self, uri: str) -> None:
        """Find the directory of the files.

        Args:
            uri: a valid one. Unknown are the domains of test:///default, and those of a
                libvirt whose socket the URI names if its files are elsewhere.
        """
        self._directory = _find_directory(uri)

    def find(self, name: str) -> int | None:
        """Return the process ID of the running domain of a name; None: unknown."""
        if self._directory is None:
            return None
        with suppress(OSError, ValueError):
            return int((self._directory / f"{name}.pid").read_text())
        return None

    def name_of(self, pid: int) -> str | None:
        """Return the name of the running domain of a process; None: it is of none."""
        if self._directory is None:
            return None
        with suppress(OSError):
            for file in self._directory.glob("*.pid"):
                if self.find(file.stem) == pid:
                    return file.stem
        return None


def _find_directory(uri: str) -> Path | None:
    """Return the directory of the files; None: there is none."""
    parts = urlsplit(uri)
    options = parse_qs(parts.query)
    if parts.scheme == "test" and parts.path != "/default":
        return Path(parts.path).parent
    if not parts.scheme.startswith("qemu"):
        return None
    socket = options.get("socket", [""])[-1]
    beside_socket = Path(socket).parent if socket else None
    match parts.path:
        case "/system":
            return (beside_socket or _SYSTEM) / "qemu"
        case "/session":
            return (beside_socket or _session()) / "qemu/run"
        case "/embed":
            return Path(options.get("root", [""])[-1]) / "run/qemu"
        case _:
            return None


def _session() -> Path:
    # virGetUserRuntimeDirectory; without the variable, GLib takes the cache.
    cache = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    runtime = os.environ.get("XDG_RUNTIME_DIR") or cache
    return Path(runtime).expanduser() / "libvirt"
