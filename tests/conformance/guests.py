# SPDX-License-Identifier: Apache-2.0
"""Helpers of the conformance tests."""

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
"""Any bytes in the size of a packet."""


@contextmanager
def fresh_monitor() -> Iterator[InProcessMonitor]:
    """Create a monitor for one of many examples."""
    with TemporaryDirectory() as name, InProcessMonitor(Path(name)) as monitor:
        yield monitor


def silence(monitor: InProcessMonitor) -> None:
    """Let so much time pass that a guest would have completed a packet."""
    monitor.now_ns += IDLE_NS
    monitor.run_pass()


def receive_all(monitor: InProcessMonitor, guest: socket.socket) -> bytes:
    """Receive everything that has arrived, and what could only be sent afterwards."""
    data = receive(guest)
    while True:
        monitor.run_pass()
        more = receive(guest)
        if not more:
            return data
        data += more
