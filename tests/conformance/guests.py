"""What the conformance tests share."""

from __future__ import annotations

from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from hypothesis import strategies as st

from orchestrator.monitor.exchange import IDLE_NS
from tests.monitor.workbench import Workbench, receive

if TYPE_CHECKING:
    import socket
    from collections.abc import Iterator

GARBAGE = st.binary(min_size=464, max_size=464)
"""A packet's worth of anything."""


@contextmanager
def fresh_bench() -> Iterator[Workbench]:
    """Make a monitor for one example of many."""
    with TemporaryDirectory() as name, Workbench(Path(name)) as bench:
        yield bench


def silence(bench: Workbench) -> None:
    """Let so much time pass that a guest would have finished a packet."""
    bench.now_ns += IDLE_NS
    bench.turn()


def receive_all(bench: Workbench, guest: socket.socket) -> bytes:
    """Take what has arrived, and what could not be sent before that was taken."""
    data = receive(guest)
    while True:
        bench.turn()
        more = receive(guest)
        if not more:
            return data
        data += more
