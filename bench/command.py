"""What people pay: each start of the command, and a dashboard that is left open."""

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
from bench.place import make_place
from bench.readings import read_cpu_ns
from bench.servers import start_vmpowerd

if TYPE_CHECKING:
    from collections.abc import Iterator

    from bench.place import Place

VCPUS = 1_024
"""Each with a channel and a clock group of its own, eight to a domain."""
_PER_DOMAIN = 8
_LINES, _COLUMNS = 40, 120
_SETTLES_IN_S = 3.0
_ENDS_WITHIN_S = 15.0


def time_starts(times: int) -> tuple[float, ...]:
    """Run `vmpower status` beside a daemon with eight domains; in ms, exec to exit.

    Raises:
        BenchError: it failed.
    """
    with (
        make_place(channels=8, per_domain=1, cpus=8) as place,
        start_load(place) as load,
        start_vmpowerd(place),
    ):
        load.greet()
        return tuple(_time_start(place) for _ in range(times))


def watch(seconds: float, vcpus: int = VCPUS) -> Watching:
    """Leave `vmpower top` open beside a daemon with many vCPUs.

    Raises:
        BenchError: it ended by itself.
    """
    with (
        make_place(channels=vcpus, per_domain=_PER_DOMAIN, cpus=vcpus) as place,
        start_load(place) as load,
        start_vmpowerd(place) as server,
    ):
        load.greet()
        with _dashboard(place) as process:
            pause, pids = threading.Event(), (process.pid, server.main_pid)
            pause.wait(_SETTLES_IN_S)
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


def _time_start(place: Place) -> float:
    began_ns = time.monotonic_ns()
    done = subprocess.run(
        _command(place, "status"), capture_output=True, text=True, check=False
    )
    took_ns = time.monotonic_ns() - began_ns
    if done.returncode != 0:
        raise BenchError(f"vmpower status failed: {done.stderr.strip()}")
    return took_ns / 1e6


@contextmanager
def _dashboard(place: Place) -> Iterator[subprocess.Popen[bytes]]:
    """Run the dashboard in a terminal that is read as fast as it draws."""
    ours, theirs = os.openpty()
    size = struct.pack("HHHH", _LINES, _COLUMNS, 0, 0)
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, size)
    with subprocess.Popen(
        _command(place, "top"),
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
            process.wait(_ENDS_WITHIN_S)
            reader.join()
            os.close(ours)


def _drain(terminal: int) -> None:
    try:
        while os.read(terminal, 65_536):
            pass
    except OSError:  # what Linux says of a terminal whose last process ended
        return


def _command(place: Place, *words: str) -> list[str]:
    return [sys.executable, "-m", "cli", "--run-dir", str(place.run_dir), *words]
