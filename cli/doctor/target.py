# SPDX-License-Identifier: Apache-2.0
"""The host that is diagnosed: where its files, its daemon and its libvirt are."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

_MAX_BYTES = 1 << 20
"""Most that is read of one file; /proc/cpuinfo of 512 CPUs has 700 kB."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """Paths and URIs from the command line; this host by default."""

    root: Path = Path("/")
    """Of /proc, /etc, /dev and the rest; another one for a copy of a host."""
    sysfs_root: Path | None = None
    """None: as the running daemon uses, otherwise as it is configured."""
    run_dir: Path = Path("/run/vmpower")
    socket: Path | None = None
    """Read-only control socket to use instead of the run directory's."""
    config: Path | None = None
    uri: str = ""
    """libvirt URI; empty: as the daemon chooses."""

    @property
    def is_copy(self) -> bool:
        """Whether the files are a copy, of another host or another time."""
        return self.root != Path("/")

    @property
    def cpu_root(self) -> Path:
        """Return the root of the CPU tree."""
        return self.sysfs_root or Path("/sys")

    def path(self, relative: str) -> Path:
        """Return a path below the root."""
        return self.root / relative

    def read(self, relative: str) -> str:
        """Read a file below the root; empty if it cannot be read."""
        return read_text(self.root / relative)


def read_text(path: Path) -> str:
    """Read a small text file; empty if it cannot be read."""
    try:
        with path.open("rb") as file:
            return file.read(_MAX_BYTES).decode("utf-8", "replace")
    except OSError:
        return ""
