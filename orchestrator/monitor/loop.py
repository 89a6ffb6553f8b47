"""The monitor's loop: waits in one method, acts in another.

It blocks without a timeout while no deadline is pending, so an idle monitor costs
nothing. The hand-off socket is in the same set as the guests' sockets.
"""

from __future__ import annotations

import sys
from time import monotonic_ns
from typing import TYPE_CHECKING

from orchestrator.errors import HandoffError
from orchestrator.monitor.registry import describe
from orchestrator.monitor.watch import READABLE, WRITABLE

if TYPE_CHECKING:
    from orchestrator.monitor.claims import Claims
    from orchestrator.monitor.endpoint import Endpoint
    from orchestrator.monitor.exchange import Exchange
    from orchestrator.monitor.handoff import Handoff
    from orchestrator.monitor.registry import Registry
    from orchestrator.monitor.watch import Watch

MAX_MESSAGES = 16
"""Messages of main that are applied before guests have their turn again."""

_NS_PER_S = 1e9


class Loop:
    """Serves guests and main until main ends it, or is gone.

    Synchronization: one thread, the monitor's.
    """

    def __init__(
        self,
        handoff: Handoff,
        watch: Watch,
        claims: Claims,
        exchange: Exchange,
        registry: Registry,
    ) -> None:
        self._handoff = handoff
        self._watch = watch
        self._claims = claims
        self._exchange = exchange
        self._registry = registry

    def run(self) -> None:
        """Serve until main says Quiesce.

        Raises:
            EOFError: main is gone.
        """
        while not self._registry.is_quiescing:
            events = self._wait()
            self.act(events, monotonic_ns())

    def _wait(self) -> list[tuple[int, int]]:
        deadline_ns = self._claims.next_deadline_ns()
        if deadline_ns is None:
            return self._watch.wait(-1)
        left_ns = max(0, deadline_ns - monotonic_ns())
        return self._watch.wait(left_ns / _NS_PER_S)

    def act(self, events: list[tuple[int, int]], polled_ns: int) -> None:
        """Do what the sockets are ready for; blocks on none of them.

        Raises:
            EOFError: main is gone.
        """
        endpoints, serve = self._watch.endpoints, self._exchange.serve
        for fd, mask in events:
            endpoint = endpoints.get(fd)
            if endpoint is None:
                self._attend_main(fd, mask)
                continue
            try:
                if mask == READABLE:
                    serve(endpoint, polled_ns)
                else:
                    self._attend(endpoint, mask, polled_ns)
            except EOFError:
                self._registry.end(endpoint, "hung up")
            except OSError as error:
                self._registry.end(endpoint, describe(error))
            except Exception as fault:  # noqa: BLE001 - one guest is not the others
                sys.excepthook(type(fault), fault, fault.__traceback__)
                self._registry.end(endpoint, "a fault of ours")
        self._claims.expire()

    def _attend(self, endpoint: Endpoint, mask: int, polled_ns: int) -> None:
        if mask & WRITABLE and endpoint.unsent:
            self._exchange.finish(endpoint)
        if mask & ~WRITABLE:
            self._exchange.serve(endpoint, polled_ns)

    def _attend_main(self, fd: int, mask: int) -> None:
        if fd != self._handoff.fileno():
            return  # an endpoint that was closed in this pass
        if mask & WRITABLE:
            self._handoff.flush()
            self._watch.watch_handoff()
        for _ in range(MAX_MESSAGES):
            try:
                delivery = self._handoff.receive()
            except HandoffError as error:
                sys.stderr.write(f"vmpower monitor: {error}\n")
                continue
            if delivery is None:
                return
            self._registry.apply(delivery)
