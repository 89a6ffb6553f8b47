# SPDX-License-Identifier: Apache-2.0
"""Cost of the command: each start, and a dashboard that is left open."""

from __future__ import annotations

import fcntl
import os
import struct
import subprocess
import sys
import termios
import threading
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

from bench.errors import BenchError
from bench.figures import Watching
from bench.load import start_load
from bench.process_stats import read_cpu_ns
from bench.servers import start_vmpowerd
from bench.workspace import make_workspace

if TYPE_CHECKING:
    from collections.abc import Iterator

    from bench.workspace import Workspace

VCPUS = 1_024
"""Each with a channel and a clock group of its own, eight to a domain."""
_PER_DOMAIN = 8
_LINES, _COLUMNS = 40, 120
_SETTLE_S = 3.0
_END_TIMEOUT_S = 15.0


def time_starts(times: int) -> tuple[float, ...]:
    """Run `vmpower status` beside a daemon with eight domains; in ms, exec to exit.

    Raises:
        BenchError: it failed.
    """
    with (
        make_workspace(channels=8, per_domain=1, cpus=8) as workspace,
        start_load(workspace) as load,
        start_vmpowerd(workspace),
    ):
        load.wait_until_served()
        return tuple(_time_start(workspace) for _ in range(times))


def watch(seconds: float, vcpus: int = VCPUS) -> Watching:
    """Leave `vmpower top` open beside a daemon with many vCPUs.

    Raises:
        BenchError: it exited.
    """
    with (
        make_workspace(channels=vcpus, per_domain=_PER_DOMAIN, cpus=vcpus) as workspace,
        start_load(workspace) as load,
        start_vmpowerd(workspace) as server,
    ):
        load.wait_until_served()
        with _dashboard(workspace) as process:
            pause, pids = threading.Event(), (process.pid, server.main_pid)
            pause.wait(_SETTLE_S)
            before, began_s = [read_cpu_ns(pid) for pid in pids], time.monotonic()
            pause.wait(seconds)
            if process.poll() is not None:
                raise BenchError(f"vmpower top ended with {process.returncode}")
            used = [read_cpu_ns(pid) - ns for pid, ns in zip(pids, before, strict=True)]
            minutes = (time.monotonic() - began_s) / 60
    top_s, daemon_s = (ns / 1e9 / minutes for ns in used)
    return Watching(
        vcpus=vcpus, seconds=seconds, top_cpu_s=top_s, daemon_cpu_s=daemon_s
    )


def _time_start(workspace: Workspace) -> float:
    began_ns = time.monotonic_ns()
    done = subprocess.run(
        _command(workspace, "status"), capture_output=True, text=True, check=False
    )
    took_ns = time.monotonic_ns() - began_ns
    if done.returncode != 0:
        raise BenchError(f"vmpower status failed: {done.stderr.strip()}")
    return took_ns / 1e6


@contextmanager
def _dashboard(workspace: Workspace) -> Iterator[subprocess.Popen[bytes]]:
    """Run the dashboard in a terminal that is read as fast as it draws."""
    ours, theirs = os.openpty()
    size = struct.pack("HHHH", _LINES, _COLUMNS, 0, 0)
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, size)
    with subprocess.Popen(
        _command(workspace, "top"),
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        env={**os.environ, "TERM": "xterm-256color"},
        start_new_session=True,
    ) as process:
        os.close(theirs)
        reader = threading.Thread(target=_drain, args=(ours,))
        reader.start()
        try:
            yield process
        finally:
            process.terminate()
            process.wait(_END_TIMEOUT_S)
            reader.join()
            os.close(ours)


def _drain(terminal: int) -> None:
    try:
        while os.read(terminal, 65_536):
            pass
    except OSError:  # Linux's error for a terminal whose last process has exited
        return


def _command(workspace: Workspace, *words: str) -> list[str]:
    return [sys.executable, "-m", "cli", "--run-dir", str(workspace.run_dir), *words]
