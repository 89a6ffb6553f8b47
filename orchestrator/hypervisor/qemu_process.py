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


def find_qemu(uri: str, name: str) -> int | None:
    """Return the process ID of a running domain; None: unknown.

    Args:
        uri: a valid one. Unknown are domains of a session and of the test driver, and
            those of a libvirt whose socket the URI names: its files can be elsewhere.
        name: of the domain.
    """
    parts = urlsplit(uri)
    options = parse_qs(parts.query)
    if not parts.scheme.startswith("qemu") or "socket" in options:
        return None
    directory = {
        "/system": _SYSTEM,
        "/embed": Path(options.get("root", [""])[-1]) / "run/qemu",
    }.get(parts.path)
    if directory is None:
        return None
    with suppress(OSError, ValueError):
        return int((directory / f"{name}.pid").read_text())
    return None
