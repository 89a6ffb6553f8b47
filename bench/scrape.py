# SPDX-License-Identifier: Apache-2.0
"""What a scrape of the metrics costs, and what it delays."""

from __future__ import annotations

import http.client
import socket
import threading
import time
from typing import TYPE_CHECKING

from bench.command import VCPUS
from bench.errors import BenchError
from bench.figures import Scrape
from bench.load import start_load
from bench.process_stats import read_cpu_ns
from bench.servers import start_vmpowerd
from bench.workspace import make_workspace
from orchestrator.control import METRICS_PATH, READ_ONLY_SOCKET

if TYPE_CHECKING:
    from pathlib import Path

_PER_DOMAIN = 4
_WARM_UP = 3
_PAUSE_S = 0.2
_TIMEOUT_S = 30.0
_ACCEPT = "application/openmetrics-text;version=1.0.0,text/plain;version=0.0.4;q=0.5"
"""What Prometheus 2 sends."""


def measure_scrapes(times: int, vcpus: int = VCPUS) -> Scrape:
    """Scrape a daemon with many vCPUs, each with a channel and a taken clock group.

    Raises:
        BenchError: there are no metrics.
    """
    with (
        make_workspace(channels=vcpus, per_domain=_PER_DOMAIN, cpus=vcpus) as workspace,
        start_load(workspace) as load,
        start_vmpowerd(workspace) as server,
    ):
        load.wait_until_served()
        path, pause = workspace.run_dir / READ_ONLY_SOCKET, threading.Event()
        for _ in range(_WARM_UP):  # imports, and frequencies that are then read
            _scrape(path)
            pause.wait(_PAUSE_S)
        took_ms, cpu_ms, body = [], [], b""
        for _ in range(times):
            pause.wait(_PAUSE_S)
            before_ns, began_ns = read_cpu_ns(server.main_pid), time.monotonic_ns()
            body = _scrape(path)
            took_ms.append((time.monotonic_ns() - began_ns) / 1e6)
            cpu_ms.append((read_cpu_ns(server.main_pid) - before_ns) / 1e6)
    return Scrape(
        vcpus=vcpus,
        series=sum(not line.startswith(b"#") for line in body.splitlines()),
        size_bytes=len(body),
        took_ms=tuple(took_ms),
        cpu_ms=tuple(cpu_ms),
    )


def _scrape(path: Path) -> bytes:
    connection = http.client.HTTPConnection("localhost")
    connection.sock = socket.socket(socket.AF_UNIX)
    connection.sock.settimeout(_TIMEOUT_S)
    try:
        connection.sock.connect(str(path))
        connection.request("GET", METRICS_PATH, headers={"Accept": _ACCEPT})
        answer = connection.getresponse()
        if answer.status != http.client.OK:
            raise BenchError(f"no metrics: HTTP status {answer.status}")
        return answer.read()
    finally:
        connection.close()
