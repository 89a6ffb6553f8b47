"""What the conformance tests share."""

from __future__ import annotations

from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from hypothesis import strategies as st

from orchestrator.monitor.process.exchange import IDLE_NS
from tests.monitor.in_process_monitor import InProcessMonitor, receive

if TYPE_CHECKING:
    import socket
    from collections.abc import Iterator

GARBAGE = st.binary(min_size=464, max_size=464)
"""A packet's worth of anything."""


@contextmanager
def fresh_monitor() -> Iterator[InProcessMonitor]:
    """Make a monitor for one example of many."""
    with TemporaryDirectory() as name, InProcessMonitor(Path(name)) as monitor:
        yield monitor


def silence(monitor: InProcessMonitor) -> None:
    """Let so much time pass that a guest would have finished a packet."""
    monitor.now_ns += IDLE_NS
    monitor.run_pass()


def receive_all(monitor: InProcessMonitor, guest: socket.socket) -> bytes:
    """Take what has arrived, and what could not be sent before that was taken."""
    data = receive(guest)
    while True:
        monitor.run_pass()
        more = receive(guest)
        if not more:
            return data
        data += more
