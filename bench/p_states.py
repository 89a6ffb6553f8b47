# SPDX-License-Identifier: Apache-2.0
"""From a request to the frequency in sysfs, for each kind of channel.

P-states have no answers. So the guests' end waits for both kinds in the same way: it
reads the file of the frequency until it has changed.
"""

from __future__ import annotations

import contextlib
import os
import socket
import statistics
import threading
import time
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, NamedTuple

from bench.errors import BenchError
from bench.figures import Obeyed
from bench.process_stats import read_cpu_ns
from bench.servers import start_vmpowerd
from bench.workspace import make_workspace
from orchestrator.channel.protocol import Request, Unit, encode
from orchestrator.power.simulated_drivers import DEFAULT_DRIVER, find_simulated
from orchestrator.values.domain import ChannelKind

if TYPE_CHECKING:
    from collections.abc import Iterator

    from bench.workspace import Workspace

OBEYED_CHANNELS = (1, 64)
"""Numbers of guests that request at once."""
_SETTLE_TURNS = 50
_SERVED_TIMEOUT_S = 60.0
_OBEYED_TIMEOUT_S = 10.0
_VALUE_BYTES = 64
_STEPS = find_simulated(DEFAULT_DRIVER).steps
_VALUES = b"%d\n" % _STEPS.highest_khz, b"%d\n" % _STEPS.lowest_khz
_PACKETS = encode(Request(0, Unit.SCALE_MAX)), encode(Request(0, Unit.SCALE_MIN))
_BYTES = b"\x00", bytes([len(_STEPS.khz) - 1])


class _Guest(NamedTuple):
    """The guest's end of one channel, and the file of its vCPU's frequency."""

    peer: socket.socket
    file: int

    def has(self, value: bytes) -> bool:
        return os.pread(self.file, _VALUE_BYTES, 0).startswith(value)


def measure_obeyed(channels: int, turns: int, idle_s: float) -> tuple[Obeyed, ...]:
    """Measure both kinds of channels, one after the other.

    Args:
        channels: how many guests request at once, each on a clock group of its own.
        turns: how often all of them request.
        idle_s: how long they are silent.

    Raises:
        BenchError: a channel was not connected, or a request not obeyed.
    """
    return tuple(_measure(kind, channels, turns, idle_s) for kind in ChannelKind)


def _measure(kind: ChannelKind, channels: int, turns: int, idle_s: float) -> Obeyed:
    requests = _BYTES if kind is ChannelKind.P_STATES else _PACKETS
    with (
        make_workspace(
            # More CPUs than one, or the domain without channels would be pinned, too.
            channels=channels,
            per_domain=1,
            cpus=channels + 1,
            kind=kind,
        ) as workspace,
        ExitStack() as stack,
    ):
        listeners = [stack.enter_context(it) for it in _listen(workspace)]
        server = stack.enter_context(start_vmpowerd(workspace))
        guests = [
            stack.enter_context(_connected(workspace, number, listener))
            for number, listener in enumerate(listeners)
        ]
        for _ in range(_SETTLE_TURNS):
            _request(guests, requests)
        monitor = server.serving_pid()
        took_ns: list[int] = []
        before_ns = read_cpu_ns(monitor)
        for _ in range(turns):
            took_ns += _request(guests, requests)
        used_ns = read_cpu_ns(monitor) - before_ns
        before_ns = read_cpu_ns(monitor)
        threading.Event().wait(idle_s)
        idle_ns = read_cpu_ns(monitor) - before_ns
    percentiles = statistics.quantiles(took_ns, n=100)
    return Obeyed(
        kind=str(kind),
        channels=channels,
        p50_us=percentiles[49] / 1e3,
        p99_us=percentiles[98] / 1e3,
        cpu_us_per_request=used_ns / len(took_ns) / 1e3,
        idle_cpu_pct=100 * idle_ns / 1e9 / idle_s,
    )


def _listen(workspace: Workspace) -> Iterator[socket.socket]:
    for number in range(workspace.channels):
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        listener.bind(str(workspace.sockets / str(number)))
        listener.listen(1)
        listener.settimeout(_SERVED_TIMEOUT_S)
        yield listener


@contextmanager
def _connected(
    workspace: Workspace, number: int, listener: socket.socket
) -> Iterator[_Guest]:
    """Accept the daemon's connection.

    Raises:
        BenchError: there is none.
    """
    try:
        peer, _ = listener.accept()
    except TimeoutError:
        raise BenchError(f"channel {number} was not connected") from None
    peer.settimeout(0)
    file = os.open(workspace.frequency_file(number), os.O_RDONLY)
    with peer:
        yield _Guest(peer, file)
    os.close(file)


def _request(guests: list[_Guest], requests: tuple[bytes, bytes]) -> list[int]:
    """Let all guests request the highest step, then the lowest.

    Returns:
        How long each request took, in ns.

    Raises:
        BenchError: one was not obeyed.
    """
    took_ns: list[int] = []
    for request, value in zip(requests, _VALUES, strict=True):
        sent_ns: dict[_Guest, int] = {}
        for guest in guests:
            sent_ns[guest] = time.perf_counter_ns()
            guest.peer.send(request)
        deadline_ns = time.perf_counter_ns() + int(_OBEYED_TIMEOUT_S * 1e9)
        while sent_ns:
            now_ns = time.perf_counter_ns()
            if now_ns > deadline_ns:
                raise BenchError(f"{len(sent_ns)} requests were not obeyed")
            obeyed = [guest for guest in sent_ns if guest.has(value)]
            took_ns += (time.perf_counter_ns() - sent_ns.pop(it) for it in obeyed)
        for guest in guests:
            with contextlib.suppress(BlockingIOError):
                guest.peer.recv(1 << 16)  # the answers, if there are any
    return took_ns
