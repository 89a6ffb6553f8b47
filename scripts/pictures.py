# SPDX-License-Identifier: Apache-2.0
"""Write the pictures of the command in the documentation.

They show a real daemon. Its CPUs and guests are simulated, as with `vmpower try`.

    python -m scripts.pictures docs   # writes docs/top.svg and docs/status.svg
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from cli.trial.domains import TrialGuest
from cli.trial.trial import Trial

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

GUESTS = (
    TrialGuest(name="dpdk-fw", pins=("1", "2"), is_polling=True),
    TrialGuest(name="dpdk-router", pins=("3", "4"), is_polling=True),
    TrialGuest(name="ovs-dpdk", pins=("5", "6"), is_polling=True),
    # A vCPU that floats over all CPUs has no clock group.
    TrialGuest(name="video-edge", pins=("7", "0-7"), is_polling=False),
)


@contextmanager
def busy_daemon() -> Iterator[Trial]:
    """Run a daemon with these guests."""
    # Short: a socket's path has 107 bytes.
    with (
        tempfile.TemporaryDirectory(prefix="vmp-", dir="/tmp") as name,
        Trial(GUESTS, directory=Path(name) / "try") as trial,
    ):
        yield trial


def write_pictures(directory: Path) -> None:
    """Write the pictures; takes a minute, for the histories in them."""
    top, status = directory / "top.svg", directory / "status.svg"
    with busy_daemon() as trial:
        for arguments in (
            ("cpu", "set", "7", "2.1GHz"),
            ("top", "--samples", "120", "--delay", "0.5", "--svg", str(top)),
            ("status", "--svg", str(status)),
        ):
            _run(trial.run_dir, arguments)


def _run(run_dir: Path, arguments: Sequence[str]) -> None:
    program = [sys.executable, "-m", "cli", "--run-dir", str(run_dir)]
    subprocess.run([*program, *arguments], check=True)


if __name__ == "__main__":
    write_pictures(Path(sys.argv[1]).resolve())
