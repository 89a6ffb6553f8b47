# SPDX-License-Identifier: Apache-2.0
"""The effect of a bad neighbor: good channels, and one that sends garbage or too much.

All of them are channels of one vmpowerd, served by one monitor. The good ones send one
request after the other; the bad one alternates between being quiet and each kind of bad
behavior, in changing order, so that other processes of the machine affect all of them
alike. Bad behavior costs the machine CPU time, too, however it is handled: a flood is
sent in one piece each millisecond, which is much more than any guest sends and keeps no
CPU busy.
"""

from __future__ import annotations

import contextlib
import random
import socket
import threading
from itertools import cycle, islice
from typing import TYPE_CHECKING, Self

from bench.figures import Neighbour, NeighbourRun
from bench.load import start_load
from bench.servers import TEST_DRIVER_CPUS, start_vmpowerd
from bench.workspace import make_workspace
from orchestrator.channel.protocol import (
    GENERATION_464,
    GENERATIONS,
    Command,
    Request,
    Unit,
    encode,
)

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from orchestrator.channel.protocol import Generation

QUIET, GARBAGE, CHANGING = "quiet", "garbage", "changing generation"
TURBO, QUERIES = "switching turbo", "asking"
"""Valid but expensive to serve: these requests change limits, and a reply is not an
echo."""
KINDS = (QUIET, GARBAGE, CHANGING, TURBO, QUERIES)
CHANNELS = TEST_DRIVER_CPUS
"""The last of them is the bad one."""
PIECE_BYTES = 16 * 464
_PIECES = 64
_PAUSE_S = 0.001
_WARM_UP_S = 0.05


def measure_neighbours(rounds: int, slice_s: float) -> tuple[Neighbour, ...]:
    """Measure the good channels beside each kind of bad one.

    Raises:
        BenchError: an answer or a frequency of a good channel was wrong.
    """
    runs: dict[str, list[NeighbourRun]] = {kind: [] for kind in KINDS}
    with (
        make_workspace(channels=CHANNELS, per_domain=1, cpus=CHANNELS) as workspace,
        start_load(workspace, channels=CHANNELS - 1) as load,
        _BadGuest(workspace.sockets / str(CHANNELS - 1)) as bad,
        start_vmpowerd(workspace),
    ):
        load.wait_until_served()
        for number in range(rounds):
            shift = number % len(KINDS)
            for kind in KINDS[shift:] + KINDS[:shift]:
                bad.switch_to(kind)
                load.round_trips(_WARM_UP_S)
                before = bad.sent_bytes
                run = load.round_trips(slice_s)
                runs[kind].append(
                    NeighbourRun(
                        p50_us=run.p50_ns / 1e3,
                        p99_us=run.p99_ns / 1e3,
                        flood_mb_per_s=(bad.sent_bytes - before) / 1e6 / run.seconds,
                        lost=run.lost,
                    )
                )
        bad.switch_to(QUIET)
        load.check_frequencies()
    return tuple(Neighbour(kind=kind, runs=tuple(runs[kind])) for kind in KINDS)


class _BadGuest:
    """Listens like QEMU, and misbehaves.

    Synchronization: a thread of its own; `switch_to` may be called from any other.
    """

    def __init__(self, path: Path) -> None:
        self.sent_bytes = 0
        self._pieces = _make_pieces()
        self._kind = QUIET
        self._is_ending = threading.Event()
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(str(path))
        self._listener.listen(1)
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._is_ending.set()
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._thread.join()
        self._listener.close()

    def switch_to(self, kind: str) -> None:
        """Change the behavior."""
        self._kind = kind

    def _run(self) -> None:
        with contextlib.suppress(OSError):
            while not self._is_ending.is_set():
                endpoint, _ = self._listener.accept()
                with endpoint:
                    endpoint.settimeout(0)
                    self._misbehave(endpoint)

    def _misbehave(self, endpoint: socket.socket) -> None:
        pieces = {kind: cycle(some) for kind, some in self._pieces.items()}
        while not self._is_ending.wait(_PAUSE_S):
            with contextlib.suppress(BlockingIOError):
                while endpoint.recv(PIECE_BYTES):
                    pass
                return  # hung up
            if self._kind in pieces:
                with contextlib.suppress(BlockingIOError):
                    self.sent_bytes += endpoint.send(next(pieces[self._kind]))


def _make_pieces() -> Mapping[str, list[bytes]]:
    dice = random.Random(0)
    lows_and_highs = (Request(0, Unit.SCALE_MIN), Request(0, Unit.SCALE_MAX))
    turbo = (Request(0, Unit.ENABLE_TURBO), Request(0, Unit.DISABLE_TURBO))
    query = Request(0, 0, command=Command.QUERY_FREQ_LIST)
    return {
        GARBAGE: [dice.randbytes(PIECE_BYTES) for _ in range(_PIECES)],
        CHANGING: [
            _fill(generation, *lows_and_highs) for generation in GENERATIONS.values()
        ],
        TURBO: [_fill(GENERATION_464, *turbo)],
        QUERIES: [_fill(GENERATION_464, query)],
    }


def _fill(generation: Generation, *requests: Request) -> bytes:
    """Return a piece of these requests, repeated."""
    packets = [encode(request, generation) for request in requests]
    return b"".join(islice(cycle(packets), PIECE_BYTES // generation.size_bytes))
