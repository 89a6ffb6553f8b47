# SPDX-License-Identifier: Apache-2.0
"""Where a trial keeps its files: below one directory of its user."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path


def default_directory() -> Path:
    """Return the directory of this user's trial.

    Its name is short, because the path of a socket has at most 107 bytes.
    """
    return Path(tempfile.gettempdir()) / f"vmpower-try-{os.geteuid()}"


def run_dir_of(directory: Path) -> Path:
    """Return the daemon's run directory."""
    return directory / "run"


def cpus_of(directory: Path) -> Path:
    """Return the tree of simulated CPUs."""
    return directory / "cpus"


def proc_of(directory: Path) -> Path:
    """Return the imitated /proc, where vmpowerd looks for it: in the tree of CPUs."""
    return cpus_of(directory) / "proc"


def log_of(directory: Path) -> Path:
    """Return the log of the daemon and the guests."""
    return directory / "log"
