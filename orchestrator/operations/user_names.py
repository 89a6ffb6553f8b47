# SPDX-License-Identifier: Apache-2.0
"""Names of the users who change something, for the log and the events.

A name may come from a directory service, which can hang; it is looked up in a thread
and awaited briefly. The number is always reported.

Source: man 3 getpwuid; man 5 nsswitch.conf.
"""

from __future__ import annotations

import asyncio
import contextlib
import pwd
from typing import TYPE_CHECKING

from orchestrator.performer.call_pool import CallPool

if TYPE_CHECKING:
    from collections.abc import Callable

    from orchestrator.control.service import Peer

MAX_LOOKUP_S = 0.2
"""How long a change waits for the name of its user."""


def _look_up(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except (KeyError, OverflowError):
        return ""


class UserNames:
    """Describes the clients of the control API.

    Synchronization: the asyncio thread only.
    """

    def __init__(self, look_up: Callable[[int], str] = _look_up) -> None:
        """Look nothing up yet.

        Args:
            look_up: returns a user's name, or an empty text; called in a thread.
        """
        self._look_up = look_up
        self._calls = CallPool("names", size=1)
        self._loop = asyncio.get_running_loop()
        self._names: dict[int, asyncio.Future[str]] = {}

    async def describe(self, who: Peer) -> str:
        """Return user and process: `root (uid 0, pid 9)`, `uid 1234 (pid 9)`."""
        if who.uid not in self._names:
            self._names[who.uid] = self._loop.create_future()
            self._calls.submit(who.uid, "name", lambda: self._work_look_up(who.uid))
        name = ""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(MAX_LOOKUP_S):
                name = await asyncio.shield(self._names[who.uid])
        return (
            f"{name} (uid {who.uid}, pid {who.pid})"
            if name
            else f"uid {who.uid} (pid {who.pid})"
        )

    def stop(self) -> None:
        """Look nothing more up; does not wait."""
        self._calls.stop()

    def _work_look_up(self, uid: int) -> None:
        name = self._look_up(uid)
        with contextlib.suppress(RuntimeError):  # the loop was closed meanwhile
            self._loop.call_soon_threadsafe(self._names[uid].set_result, name)
