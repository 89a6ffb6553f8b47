# SPDX-License-Identifier: Apache-2.0
"""The set of sockets that the monitor waits on.

Theory of operation: level-triggered epoll, so that a socket that was read only in part
is ready again, after the others: the kernel rotates its ready list. Closing a
descriptor removes it from the set, but events that were fetched before may still name
it, and a new socket may have been assigned its number; reading that socket finds
nothing, which is harmless.

Source: man 7 epoll, "Questions and answers" 6 and 8.
"""

from __future__ import annotations

import select
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from orchestrator.monitor.link.handoff import Handoff
    from orchestrator.monitor.process.endpoint import Endpoint

READABLE: int = select.EPOLLIN
WRITABLE: int = select.EPOLLOUT


class EpollSet:
    """An epoll set; owns it, but not the sockets in it.

    Synchronization: one thread, the monitor's.
    """

    def __init__(self, handoff: Handoff) -> None:
        self.endpoints: dict[int, Endpoint] = {}
        """By descriptor."""
        self._handoff = handoff
        self._epoll = select.epoll()
        self.wait = self._epoll.poll
        """Block until a socket is ready, or for a number of seconds (-1: no timeout);
        return up to a number of descriptors with their events."""
        self._epoll.register(handoff.fileno(), READABLE)

    def add(self, endpoint: Endpoint) -> None:
        """Add an endpoint."""
        self._epoll.register(endpoint.fileno(), READABLE)
        self.endpoints[endpoint.fileno()] = endpoint

    def remove(self, endpoint: Endpoint) -> None:
        """Remove an endpoint; to be called before it is closed."""
        self._epoll.unregister(endpoint.fileno())
        del self.endpoints[endpoint.fileno()]

    def rearm(self, endpoint: Endpoint) -> None:
        """Wait for input unless paused, and for room only if something is unsent."""
        mask = 0 if endpoint.time_share.is_paused else READABLE
        if endpoint.unsent:
            mask |= WRITABLE
        self._epoll.modify(endpoint.fileno(), mask)

    def rearm_handoff(self) -> None:
        """Wait for room towards main only while messages wait for it."""
        mask = READABLE | WRITABLE if self._handoff.is_blocked else READABLE
        self._epoll.modify(self._handoff.fileno(), mask)

    def close(self) -> None:
        """Close the set."""
        self._epoll.close()
