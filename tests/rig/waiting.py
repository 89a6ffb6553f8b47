# SPDX-License-Identifier: Apache-2.0
"""Waiting for what another program does: a condition and a deadline."""

from __future__ import annotations

import contextlib
import os
import socket
import threading
import time
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

T = TypeVar("T")

DEADLINE_S = float(os.environ.get("VMPOWER_TEST_DEADLINE_S", "60"))
"""For what takes less than a second on a real machine that is not loaded."""
GUEST_DEADLINE_S = max(240.0, DEADLINE_S)
"""For what takes a guest less than ten seconds: it may be emulated."""
LAB_DEADLINE_S = 3300.0
"""For a whole run of an emulated machine. That takes up to 200 s of CPU time: more than
twenty minutes beside ten busy processes on two CPUs."""
IN_LAB = "export VMPOWER_TEST_DEADLINE_S=2700\n"
"""Shell text: sets `DEADLINE_S` of programs in an emulated machine."""

_PAUSE_S = 0.01


def wait_for(
    poll: Callable[[], T | None], what: str, *, timeout_s: float = DEADLINE_S
) -> T:
    """Poll until there is a result, and return it.

    Args:
        poll: returns the result; None or False: not yet.
        what: description of the result, for the error.
        timeout_s: how long to wait.

    Raises:
        TimeoutError: there is no result.
    """
    never = threading.Event()
    deadline = time.monotonic() + timeout_s
    while True:
        found = poll()
        if found is not None and found is not False:
            return found
        if time.monotonic() > deadline:
            raise TimeoutError(f"{what}: not within {timeout_s} s")
        never.wait(_PAUSE_S)


def connect(path: Path) -> socket.socket:
    """Connect to a socket as soon as a program listens there.

    The file is there earlier than that.

    Raises:
        TimeoutError: none listens.
    """

    def try_it() -> socket.socket | None:
        connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        with contextlib.suppress(FileNotFoundError, ConnectionRefusedError):
            connection.connect(str(path))
            return connection
        connection.close()
        return None

    return wait_for(try_it, f"a program listens at {path}")
