# SPDX-License-Identifier: Apache-2.0
"""From a domain's start to its open channel, in a separate process.

Domains in libvirt's test driver can only be started from within its process. So the
whole daemon runs in this one, with a real monitor process, and another thread starts
domains on the same `test:///default`, listens like QEMU, and sends requests like a
guest.

    python -m bench.arrival TIMES
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import os
import socket
import subprocess
import sys
import threading
import time
from dataclasses import asdict
from typing import TYPE_CHECKING

import libvirt

from bench.errors import BenchError
from bench.figures import Arrival
from bench.servers import TEST_DRIVER_CPUS
from bench.workspace import Workspace, build_domain, make_workspace
from orchestrator.channel.protocol import Request, Unit, encode, encode_connect
from orchestrator.config import Config, LibvirtConfig
from orchestrator.control.client import ControlClient, DaemonUnreachable
from orchestrator.daemon import Daemon

if TYPE_CHECKING:
    from collections.abc import Callable

_URI = "test:///default"
_TIMEOUT_S = 10.0
_GUEST_TIMEOUT_S = 0.01
_POLL_S = 0.02


def measure_arrivals(times: int) -> tuple[Arrival, ...]:
    """Start a number of domains, one after the other, beside a daemon.

    Raises:
        BenchError: the process failed.
    """
    done = subprocess.run(
        [sys.executable, "-m", "bench.arrival", str(times)],
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise BenchError(f"no channel opened:\n{done.stderr}")
    return tuple(Arrival(**arrival) for arrival in json.loads(done.stdout))


def main() -> None:
    """Print the arrivals as JSON."""
    logging.basicConfig(level=logging.WARNING)
    libvirt.registerErrorHandler(lambda _context, _error: None, None)
    times = int(sys.argv[1])
    with make_workspace(
        channels=times, per_domain=1, cpus=TEST_DRIVER_CPUS
    ) as workspace:
        arrivals = asyncio.run(_run(workspace))
    print(json.dumps([asdict(arrival) for arrival in arrivals]))


async def _run(workspace: Workspace) -> list[Arrival]:
    config = Config(
        sysfs_root=workspace.tree,
        run_dir=workspace.run_dir,
        libvirt=LibvirtConfig(uri=_URI),
    )
    daemon = Daemon(config, reload=lambda: config)
    running = asyncio.create_task(daemon.run())
    try:
        return await asyncio.to_thread(_start_domains, workspace)
    finally:
        daemon.stop()
        await running


def _start_domains(workspace: Workspace) -> list[Arrival]:
    _await(lambda: _is_connected(workspace), "the daemon does not connect to libvirt")
    connection = libvirt.open(_URI)
    try:
        return [
            _start_domain(connection, workspace, number)
            for number in range(len(workspace.domains))
        ]
    finally:
        connection.close()


def _start_domain(
    connection: libvirt.virConnect, workspace: Workspace, number: int
) -> Arrival:
    xml = build_domain(workspace, number)
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(workspace.sockets / str(number)))
        listener.listen(1)
        listener.settimeout(_TIMEOUT_S)
        started_ns = time.monotonic_ns()
        domain = connection.createXML(xml)
        endpoint, _ = listener.accept()
        connected_ns = time.monotonic_ns()
        with endpoint:
            _request_until_answered(endpoint)
            obeyed_ns = time.monotonic_ns()
            domain.destroy()
    return Arrival(
        connected_ms=(connected_ns - started_ns) / 1e6,
        obeyed_ms=(obeyed_ns - started_ns) / 1e6,
    )


def _request_until_answered(endpoint: socket.socket) -> None:
    """Repeat a request until it is answered, as callers of DPDK's library must."""
    request = encode(Request(0, Unit.SCALE_MAX))
    endpoint.sendall(encode_connect())
    endpoint.settimeout(_GUEST_TIMEOUT_S)
    deadline = time.monotonic() + _TIMEOUT_S
    while time.monotonic() < deadline:
        endpoint.sendall(request)
        with contextlib.suppress(TimeoutError):
            if endpoint.recv(len(request)) == request:
                return
    raise BenchError("the channel is connected but not served")


def _is_connected(workspace: Workspace) -> bool:
    with ControlClient(workspace.run_dir / "vmpower.sock") as client:
        try:
            return client.status()["libvirt"]["connected"]
        except DaemonUnreachable:
            return False


def _await(is_so: Callable[[], bool], otherwise: str) -> None:
    pause, deadline = threading.Event(), time.monotonic() + _TIMEOUT_S
    while not is_so():
        if time.monotonic() > deadline:
            raise BenchError(otherwise)
        pause.wait(_POLL_S)


if __name__ == "__main__":
    main()
    sys.stdout.flush()
    os._exit(0)
