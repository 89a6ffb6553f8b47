# SPDX-License-Identifier: Apache-2.0
"""Starts the servers of the channels: vmpowerd, or the loop in C."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from bench.errors import BenchError
from bench.process_stats import read_children
from bench.programs import build
from bench.workspace import build_node
from orchestrator.values.domain import ChannelKind

if TYPE_CHECKING:
    from collections.abc import Iterator

    from bench.workspace import Workspace

VMPOWERD = "vmpowerd"
UNBATCHED = "C, unbatched"
BATCHED = "C, batched"

TEST_DRIVER_CPUS = 8
"""CPUs of libvirt's test driver: a higher pin is not kept."""
_END_TIMEOUT_S = 15.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Server:
    """One running server."""

    name: str
    main_pid: int
    """Of the started process."""
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
def start_reference(workspace: Workspace, *, is_batched: bool) -> Iterator[Server]:
    """Start the loop in C."""
    kind = "batched" if is_batched else "unbatched"
    arguments = [
        str(build("reference")),
        kind,
        str(workspace.sockets),
        str(workspace.channels),
        str(workspace.tree / "devices/system/cpu"),
    ]
    with _started(arguments, workspace) as (process, started_ns):
        yield Server(
            name=BATCHED if is_batched else UNBATCHED,
            main_pid=process.pid,
            started_ns=started_ns,
        )


@contextmanager
def start_vmpowerd(workspace: Workspace) -> Iterator[Server]:
    """Start the daemon, with libvirt's test driver or with posted domains."""
    with _started(_daemon_arguments(workspace), workspace) as (process, started_ns):
        yield Server(name=VMPOWERD, main_pid=process.pid, started_ns=started_ns)


def is_discoverable(workspace: Workspace) -> bool:
    """Return whether libvirt's test driver supports the domains of the workspace.

    P-states it would; but both kinds of channels are to be compared alike.
    """
    is_small = min(workspace.cpus, workspace.channels) <= TEST_DRIVER_CPUS
    return is_small and workspace.kind is ChannelKind.AGENT


def _daemon_arguments(workspace: Workspace) -> list[str]:
    config = workspace.directory / "vmpower.toml"
    # Not the configuration of this machine. The loops in C have no budget either.
    config.write_text("[channels]\nbudget = 0\n", encoding="ascii")
    common = ["--sysfs-root", str(workspace.tree), "--run-dir", str(workspace.run_dir)]
    if not is_discoverable(workspace):
        sizes = [workspace.channels, workspace.per_domain, workspace.cpus]
        arguments = [str(workspace.directory), *map(str, sizes), workspace.kind]
        return [sys.executable, "-m", "bench.posted_domains", *arguments]
    node = workspace.directory / "node.xml"
    node.write_text(build_node(workspace), encoding="ascii")
    uri = f"test://{node}"
    return [
        *(sys.executable, "-m", "orchestrator", "--connect", uri),
        *("--config", str(config), "--log-level", "warning", *common),
    ]


@contextmanager
def _started(
    arguments: list[str], workspace: Workspace
) -> Iterator[tuple[subprocess.Popen[bytes], int]]:
    with workspace.log.open("wb") as log:
        started_ns = time.monotonic_ns()
        process = subprocess.Popen(
            arguments, stdin=subprocess.DEVNULL, stdout=log, stderr=log
        )
        try:
            yield process, started_ns
        finally:
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(_END_TIMEOUT_S)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
