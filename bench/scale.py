# SPDX-License-Identifier: Apache-2.0
"""vmpowerd's CPU time for many domains, in a separate process.

Domains in libvirt's test driver can only be started from within its process. So the
whole daemon runs in this one, with a real monitor process, and another thread stops and
starts domains on the same `test:///default`. The CPU time of that thread does not
count; that of the test driver in the daemon's calls does.

    python -m bench.scale DOMAINS
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict
from typing import TYPE_CHECKING

import libvirt

from bench.crowd import start_crowd
from bench.errors import BenchError
from bench.figures import Scale
from bench.servers import TEST_DRIVER_CPUS
from bench.workspace import build_domain, make_workspace
from orchestrator.config import Config, LibvirtConfig
from orchestrator.daemon import Daemon

if TYPE_CHECKING:
    from collections.abc import Iterator

    from bench.crowd import Crowd
    from bench.workspace import Workspace

PER_DOMAIN = 4
"""vCPUs, each with a channel."""
_RESTARTS = 30
_URI = "test:///default"
_NEVER_S = 1e6
"""A resync during a measurement would be counted with it."""
_QUIET_S = 0.1
_QUIET_NS = 1_000_000
"""An idle daemon uses less CPU time in that time; one domain's start uses more."""
_QUIET_TIMES = 5
"""On a busy machine the daemon may get no CPU for a while."""
_TIMEOUT_S = 120.0


def measure_scale(domains: int) -> Scale:
    """Measure a daemon beside this many running domains.

    Raises:
        BenchError: not all channels were connected.
    """
    command = [sys.executable, "-m", "bench.scale", str(domains)]
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, check=False, timeout=_TIMEOUT_S
        )
    except subprocess.TimeoutExpired:
        raise BenchError(f"{domains} domains: not all channels connected") from None
    if done.returncode:
        raise BenchError(f"{domains} domains: no figures:\n{done.stderr}")
    return Scale(**json.loads(done.stdout))


def main() -> None:
    """Print the figures as JSON."""
    logging.basicConfig(level=logging.WARNING)
    libvirt.registerErrorHandler(lambda _context, _error: None, None)
    print(json.dumps(asdict(asyncio.run(_run(int(sys.argv[1]))))))


async def _run(domains: int) -> Scale:
    loop = asyncio.get_running_loop()
    # One thread for all that the daemon does not do: its CPU time can be subtracted.
    with ThreadPoolExecutor(max_workers=1) as executor:
        return await loop.run_in_executor(executor, _measure, domains, loop)


def _measure(domains: int, loop: asyncio.AbstractEventLoop) -> Scale:
    channels = domains * PER_DOMAIN
    meter = _Meter()
    with (
        make_workspace(
            channels=channels, per_domain=PER_DOMAIN, cpus=TEST_DRIVER_CPUS
        ) as workspace,
        start_crowd(workspace) as crowd,
    ):
        started = _start_domains(workspace)
        began_ns = time.monotonic_ns()
        with _daemon(workspace, loop):
            connected_ns = crowd.wait_until_open(channels)
            meter.settle()
            connect_s = meter.read_s()
            restart_s = _restart_some(started, crowd, meter)
            storm_s = _restart_all(started, crowd, meter)
    return Scale(
        domains=domains,
        channels=channels,
        connected_ms=(connected_ns - began_ns) / 1e6,
        connect_cpu_s=connect_s,
        restart_cpu_ms=1e3 * restart_s,
        storm_cpu_s=storm_s,
    )


class _Meter:
    """CPU time of this process since its start, without that of the thread that asks.

    Synchronization: that one thread.
    """

    def __init__(self) -> None:
        self._before_ns = 0

    def read_s(self) -> float:
        """Return the CPU time since the last call, or the start, in seconds."""
        now_ns = self._now_ns()
        used_ns, self._before_ns = now_ns - self._before_ns, now_ns
        return used_ns / 1e9

    def _now_ns(self) -> int:
        return time.process_time_ns() - time.thread_time_ns()

    def settle(self) -> None:
        """Wait until the rest of the process has nothing more to do.

        Raises:
            BenchError: it is always busy.
        """
        deadline = time.monotonic() + _TIMEOUT_S
        pause, quiet = threading.Event(), 0
        while time.monotonic() < deadline:
            before_ns = self._now_ns()
            pause.wait(_QUIET_S)
            quiet = quiet + 1 if self._now_ns() - before_ns < _QUIET_NS else 0
            if quiet == _QUIET_TIMES:
                return
        raise BenchError("the daemon does not become idle")


def _start_domains(workspace: Workspace) -> list[libvirt.virDomain]:
    connection = libvirt.open(_URI)
    domains = [
        connection.defineXML(build_domain(workspace, number))
        for number in range(len(workspace.domains))
    ]
    for domain in domains:
        domain.create()
    return domains


@contextmanager
def _daemon(workspace: Workspace, loop: asyncio.AbstractEventLoop) -> Iterator[None]:
    config = Config(
        sysfs_root=workspace.tree,
        run_dir=workspace.run_dir,
        libvirt=LibvirtConfig(uri=_URI, resync_s=_NEVER_S),
    )

    async def build() -> Daemon:
        return Daemon(config, reload=lambda: config)

    daemon = asyncio.run_coroutine_threadsafe(build(), loop).result()
    running = asyncio.run_coroutine_threadsafe(daemon.run(), loop)
    try:
        yield
    finally:
        loop.call_soon_threadsafe(daemon.stop)
        running.result()


def _restart_some(
    domains: list[libvirt.virDomain], crowd: Crowd, meter: _Meter
) -> float:
    """Stop and start domains one after the other.

    Returns:
        The CPU time for each, in seconds.
    """
    channels = len(domains) * PER_DOMAIN
    for number in range(_RESTARTS):
        domain = domains[number % len(domains)]
        domain.destroy()
        crowd.wait_until_open(channels - PER_DOMAIN)
        domain.create()
        crowd.wait_until_open(channels)
    meter.settle()
    return meter.read_s() / _RESTARTS


def _restart_all(
    domains: list[libvirt.virDomain], crowd: Crowd, meter: _Meter
) -> float:
    """Stop all domains, then start all; return the CPU time in seconds."""
    for domain in domains:
        domain.destroy()
    crowd.wait_until_open(0)
    for domain in domains:
        domain.create()
    crowd.wait_until_open(len(domains) * PER_DOMAIN)
    meter.settle()
    return meter.read_s()


if __name__ == "__main__":
    main()
    sys.stdout.flush()
    os._exit(0)
