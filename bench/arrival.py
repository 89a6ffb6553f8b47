"""From a domain's start to its open channel, in a process of its own.

Nobody outside a process can start a domain in its test driver. So the daemon runs in
this one, whole and with a real monitor process, and another thread starts domains on
the same `test:///default`, listens where QEMU would, and asks as a guest would.

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
from bench.place import Place, build_domain, make_place
from bench.servers import TEST_DRIVER_CPUS
from orchestrator.channel.protocol import Request, Unit, encode, encode_connect
from orchestrator.config import Config, LibvirtConfig
from orchestrator.control.client import ControlClient, DaemonUnreachable
from orchestrator.daemon import Daemon

if TYPE_CHECKING:
    from collections.abc import Callable

_URI = "test:///default"
_PATIENCE_S = 10.0
_GUEST_GIVES_UP_S = 0.01
_LOOK_S = 0.02


def measure_arrivals(times: int) -> tuple[Arrival, ...]:
    """Start so many domains, one after the other, beside a daemon.

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
    with make_place(channels=times, per_domain=1, cpus=TEST_DRIVER_CPUS) as place:
        arrivals = asyncio.run(_run(place))
    print(json.dumps([asdict(arrival) for arrival in arrivals]))


async def _run(place: Place) -> list[Arrival]:
    config = Config(
        sysfs_root=place.tree, run_dir=place.run_dir, libvirt=LibvirtConfig(uri=_URI)
    )
    daemon = Daemon(config, reload=lambda: config)
    running = asyncio.create_task(daemon.run())
    try:
        return await asyncio.to_thread(_start_domains, place)
    finally:
        daemon.stop()
        await running


def _start_domains(place: Place) -> list[Arrival]:
    _await(lambda: _is_connected(place), "the daemon does not find libvirt")
    connection = libvirt.open(_URI)
    try:
        return [
            _start_domain(connection, place, number)
            for number in range(len(place.domains))
        ]
    finally:
        connection.close()


def _start_domain(connection: libvirt.virConnect, place: Place, number: int) -> Arrival:
    xml = build_domain(place, number)
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(place.sockets / str(number)))
        listener.listen(1)
        listener.settimeout(_PATIENCE_S)
        started_ns = time.monotonic_ns()
        domain = connection.createXML(xml)
        endpoint, _ = listener.accept()
        connected_ns = time.monotonic_ns()
        with endpoint:
            _insist(endpoint)
            obeyed_ns = time.monotonic_ns()
            domain.destroy()
    return Arrival(
        connected_ms=(connected_ns - started_ns) / 1e6,
        obeyed_ms=(obeyed_ns - started_ns) / 1e6,
    )


def _insist(endpoint: socket.socket) -> None:
    """Ask until there is an answer, as DPDK's library makes its callers do."""
    request = encode(Request(0, Unit.SCALE_MAX))
    endpoint.sendall(encode_connect())
    endpoint.settimeout(_GUEST_GIVES_UP_S)
    deadline = time.monotonic() + _PATIENCE_S
    while time.monotonic() < deadline:
        endpoint.sendall(request)
        with contextlib.suppress(TimeoutError):
            if endpoint.recv(len(request)) == request:
                return
    raise BenchError("the channel is connected and not obeyed")


def _is_connected(place: Place) -> bool:
    with ControlClient(place.run_dir / "vmpower.sock") as client:
        try:
            return client.status()["libvirt"]["connected"]
        except DaemonUnreachable:
            return False


def _await(is_so: Callable[[], bool], otherwise: str) -> None:
    pause, deadline = threading.Event(), time.monotonic() + _PATIENCE_S
    while not is_so():
        if time.monotonic() > deadline:
            raise BenchError(otherwise)
        pause.wait(_LOOK_S)


if __name__ == "__main__":
    main()
    sys.stdout.flush()
    os._exit(0)
