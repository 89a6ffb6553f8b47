"""Waiting for what another program does: a condition and a deadline."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")

_PAUSE_S = 0.01


def wait_for(look: Callable[[], T | None], what: str, *, timeout_s: float = 20.0) -> T:
    """Look again and again until something is there, and return it.

    Args:
        look: returns what is awaited; None or False: not yet.
        what: for the error, what is awaited.
        timeout_s: how long to wait.

    Raises:
        TimeoutError: it did not come.
    """
    never = threading.Event()
    deadline = time.monotonic() + timeout_s
    while True:
        found = look()
        if found is not None and found is not False:
            return found
        if time.monotonic() > deadline:
            raise TimeoutError(f"{what}: not within {timeout_s} s")
        never.wait(_PAUSE_S)
