"""Starting what serves the channels: vmpowerd, or the loop in C."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from bench.errors import BenchError
from bench.place import build_node
from bench.programs import build
from bench.readings import read_children

if TYPE_CHECKING:
    from collections.abc import Iterator

    from bench.place import Place

VMPOWERD = "vmpowerd"
UNBATCHED = "C, unbatched"
BATCHED = "C, batched"

TEST_DRIVER_CPUS = 8
"""As wide is libvirt's test driver: a pin above reads back empty."""
_ENDS_WITHIN_S = 15.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Server:
    """One running server."""

    name: str
    main_pid: int
    """Of the process that we started."""
    started_ns: int
    """Just before exec, monotonic."""

    def serving_pid(self) -> int:
        """Return the process that serves packets, once one has been served.

        Raises:
            BenchError: the daemon has no monitor.
        """
        if self.name != VMPOWERD:
            return self.main_pid
        children = read_children(self.main_pid)
        if len(children) != 1:
            raise BenchError(f"vmpowerd has {len(children)} children, not one monitor")
        return children[0]


@contextmanager
def start_reference(place: Place, *, is_batched: bool) -> Iterator[Server]:
    """Start the loop in C."""
    kind = "batched" if is_batched else "unbatched"
    arguments = [
        str(build("reference")),
        kind,
        str(place.sockets),
        str(place.channels),
        str(place.tree / "devices/system/cpu"),
    ]
    with _started(arguments, place) as (process, started_ns):
        yield Server(
            name=BATCHED if is_batched else UNBATCHED,
            main_pid=process.pid,
            started_ns=started_ns,
        )


@contextmanager
def start_vmpowerd(place: Place) -> Iterator[Server]:
    """Start the daemon, on libvirt's test driver or beside it."""
    with _started(_daemon_arguments(place), place) as (process, started_ns):
        yield Server(name=VMPOWERD, main_pid=process.pid, started_ns=started_ns)


def is_discoverable(place: Place) -> bool:
    """Whether libvirt's test driver can carry the place's domains."""
    return min(place.cpus, place.channels) <= TEST_DRIVER_CPUS


def _daemon_arguments(place: Place) -> list[str]:
    config = place.directory / "vmpower.toml"
    config.write_text("", encoding="ascii")  # not what this machine's operator wants
    common = ["--sysfs-root", str(place.tree), "--run-dir", str(place.run_dir)]
    if not is_discoverable(place):
        sizes = [place.channels, place.per_domain, place.cpus]
        arguments = [str(place.directory), *map(str, sizes)]
        return [sys.executable, "-m", "bench.handoff", *arguments]
    node = place.directory / "node.xml"
    node.write_text(build_node(place), encoding="ascii")
    uri = f"test://{node}"
    return [
        *(sys.executable, "-m", "orchestrator", "--connect", uri),
        *("--config", str(config), "--log-level", "warning", *common),
    ]


@contextmanager
def _started(
    arguments: list[str], place: Place
) -> Iterator[tuple[subprocess.Popen[bytes], int]]:
    with place.log.open("wb") as log:
        started_ns = time.monotonic_ns()
        process = subprocess.Popen(
            arguments, stdin=subprocess.DEVNULL, stdout=log, stderr=log
        )
        try:
            yield process, started_ns
        finally:
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(_ENDS_WITHIN_S)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
