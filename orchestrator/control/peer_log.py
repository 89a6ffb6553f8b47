# SPDX-License-Identifier: Apache-2.0
"""Log lines about clients, limited: no client can fill the log.

Every user of the host may connect to the read-only socket, as often as it wants.
"""

from __future__ import annotations

import logging
from time import monotonic
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

logger = logging.getLogger(__name__)

INTERVAL_S = 60.0
"""In this time a user causes at most one line of each kind."""
MAX_LINES = 20
"""Lines about all users in this time. One person may have 65536 user IDs, for
containers (man 5 subuid)."""
MAX_TEXT = 200
"""Longest text of a line about what a client has sent."""


class PeerLog:
    """Log lines about the clients of one socket.

    Synchronization: the asyncio thread only.
    """

    def __init__(self, name: str, *, now_s: Callable[[], float] = monotonic) -> None:
        self._name = name
        self._now_s = now_s
        self._ends_s = now_s()
        self._logged: set[tuple[str, int]] = set()
        self._suppressed = 0

    def report(self, what: str, uid: int, why: object) -> None:
        """Log what a client did, unless its user has a line of this kind already."""
        if self._has_room(what, uid):
            text = str(why)[:MAX_TEXT]
            logger.warning("%s path=%s uid=%d: %s", what, self._name, uid, text)

    def report_defect(self, uid: int, error: BaseException | None) -> None:
        """Log a failed call with its traceback, within the same limits."""
        if self._has_room("defect", uid):
            logger.error(
                "API call failed path=%s uid=%d", self._name, uid, exc_info=error
            )

    def _has_room(self, what: str, uid: int) -> bool:
        self._begin_interval()
        key = (what, uid)
        if key in self._logged or len(self._logged) >= MAX_LINES:
            self._suppressed += 1
            return False
        self._logged.add(key)
        return True

    def _begin_interval(self) -> None:
        now_s = self._now_s()
        if now_s < self._ends_s:
            return
        self._ends_s = now_s + INTERVAL_S
        self._logged.clear()
        if self._suppressed:
            logger.warning(
                "messages about clients suppressed path=%s count=%d",
                self._name,
                self._suppressed,
            )
            self._suppressed = 0
