"""The set of sockets that the monitor waits on.

Theory of operation: level-triggered epoll, so that a socket of which only a bounded
part was read comes up again, behind the others: the kernel goes round its ready list.
A descriptor that is closed leaves the set by itself, but events that were already
fetched may still name it, and a new socket may have got its number by then; serving
that one finds nothing to read, which is no error.

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


class Watch:
    """An epoll set; owns it, but not what is in it.

    Synchronization: one thread, the monitor's.
    """

    def __init__(self, handoff: Handoff) -> None:
        self.endpoints: dict[int, Endpoint] = {}
        """By descriptor."""
        self._handoff = handoff
        self._epoll = select.epoll()
        self.wait = self._epoll.poll
        """Block until a socket is ready, or for so many seconds (-1: without end);
        returns at most so many descriptors, each with what it is ready for."""
        self._epoll.register(handoff.fileno(), READABLE)

    def add(self, endpoint: Endpoint) -> None:
        """Watch an endpoint from now on."""
        self._epoll.register(endpoint.fileno(), READABLE)
        self.endpoints[endpoint.fileno()] = endpoint

    def remove(self, endpoint: Endpoint) -> None:
        """Watch an endpoint no longer; before it is closed."""
        self._epoll.unregister(endpoint.fileno())
        del self.endpoints[endpoint.fileno()]

    def look(self, endpoint: Endpoint) -> None:
        """Wait for bytes unless it rests; for room exactly if something is unsent."""
        mask = 0 if endpoint.share.is_resting else READABLE
        if endpoint.unsent:
            mask |= WRITABLE
        self._epoll.modify(endpoint.fileno(), mask)

    def watch_handoff(self) -> None:
        """Wait for room towards main exactly while messages wait for it."""
        mask = READABLE | WRITABLE if self._handoff.is_blocked else READABLE
        self._epoll.modify(self._handoff.fileno(), mask)

    def close(self) -> None:
        """Close the set."""
        self._epoll.close()
