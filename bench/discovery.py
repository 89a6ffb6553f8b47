# SPDX-License-Identifier: Apache-2.0
"""vmpowerd beside 100 running domains: the time until it serves them, and idle cost.

The domains are those of libvirt's test driver, and so on 8 CPUs.
"""

from __future__ import annotations

import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING

from bench.figures import Discovery, Idle
from bench.load import start_load
from bench.process_stats import read_cpu_ns, read_pss_bytes
from bench.servers import TEST_DRIVER_CPUS, start_vmpowerd
from bench.workspace import make_workspace

if TYPE_CHECKING:
    from collections.abc import Iterator

    from bench.servers import Server

DOMAINS = 100
"""Each with one vCPU and one channel."""
_SETTLE_S = 1.0


def discover() -> Discovery:
    """Start the daemon beside running domains, and stop it.

    Raises:
        BenchError: not all channels were connected and served.
    """
    with _serving() as (_, discovery):
        return discovery


def measure_idle(seconds: float) -> Idle:
    """Measure the daemon with open channels without requests.

    Raises:
        BenchError: not all channels were connected and served.
    """
    with _serving() as (server, _):
        pids = (server.main_pid, server.serving_pid())
        pause = threading.Event()
        pause.wait(_SETTLE_S)
        before = [read_cpu_ns(pid) for pid in pids]
        pause.wait(seconds)
        used = [
            read_cpu_ns(pid) - start for pid, start in zip(pids, before, strict=True)
        ]
        main_pct, monitor_pct = (100 * ns / 1e9 / seconds for ns in used)
        return Idle(
            channels=DOMAINS,
            seconds=seconds,
            main_cpu_pct=main_pct,
            monitor_cpu_pct=monitor_pct,
            main_pss_bytes=read_pss_bytes(pids[0]),
            monitor_pss_bytes=read_pss_bytes(pids[1]),
        )


@contextmanager
def _serving() -> Iterator[tuple[Server, Discovery]]:
    with (
        make_workspace(
            channels=DOMAINS, per_domain=1, cpus=TEST_DRIVER_CPUS
        ) as workspace,
        start_load(workspace) as load,
        start_vmpowerd(workspace) as server,
    ):
        connected_ns, obeyed_ns = load.wait_until_served()
        yield (
            server,
            Discovery(
                domains=DOMAINS,
                connected_ms=(connected_ns - server.started_ns) / 1e6,
                obeyed_ms=(obeyed_ns - server.started_ns) / 1e6,
            ),
        )
