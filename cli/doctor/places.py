"""Where the doctor looks: files below roots, so that a copy of a machine will do."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

_MAX_BYTES = 1 << 20
"""Most that is read of one file; /proc/cpuinfo of 512 CPUs has 700 kB."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Places:
    """What the command line names."""

    root: Path = Path("/")
    """Of /proc, /etc, /dev and the rest."""
    sysfs_root: Path | None = None
    """None: that of the daemon that runs, else of its configuration."""
    run_dir: Path = Path("/run/vmpower")
    socket: Path | None = None
    """Read-only control socket, in place of the run directory's."""
    config: Path | None = None
    uri: str = ""
    """libvirt; empty: as the daemon chooses."""

    @property
    def is_copy(self) -> bool:
        """Whether the files are of another machine, or of another time."""
        return self.root != Path("/")

    @property
    def cpu_root(self) -> Path:
        """Return the root of the CPU tree."""
        return self.sysfs_root or Path("/sys")

    def path(self, relative: str) -> Path:
        """Return a path below the root."""
        return self.root / relative

    def read(self, relative: str) -> str:
        """Read a file below the root; empty if it is not there or not for us."""
        return read_text(self.root / relative)


def read_text(path: Path) -> str:
    """Read a small text file; empty if it is not there or not for us."""
    try:
        with path.open("rb") as file:
            return file.read(_MAX_BYTES).decode("utf-8", "replace")
    except OSError:
        return ""
