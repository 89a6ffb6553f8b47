# SPDX-License-Identifier: Apache-2.0
"""The socket of `[metrics] listen`, which serves metrics and nothing else.

A daemon that cannot listen there serves its guests all the same: the problem is logged
and shown in the status, and listening is tried again. An address may belong to an
interface that is set up after the daemon has started.
"""

from __future__ import annotations

import logging
from pathlib import Path
from typing import TYPE_CHECKING

from aiohttp import web

from orchestrator.control import BODY_LIMIT_BYTES, METRICS_PATH
from orchestrator.control.answers import answer, metrics_answer
from orchestrator.control.deadlines import Deadlines
from orchestrator.control.listener import Listener
from orchestrator.control.listening_socket import TcpSocket, UnixSocket
from orchestrator.errors import ControlError
from orchestrator.values.listen_address import parse_listen_address

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from aiohttp.typedefs import Handler

    from orchestrator.control.service import Exposition

    Scrape = Callable[[str], Awaitable[Exposition]]

logger = logging.getLogger(__name__)

_ANY_USER = 0o666
"""As the read-only socket of the API, which has the same metrics."""


class MetricsEndpoint:
    """Serves `/metrics` at the configured address.

    Synchronization: the asyncio thread only.
    """

    def __init__(
        self, listen: str, scrape: Scrape, deadlines: Deadlines | None = None
    ) -> None:
        """Open nothing yet.

        Args:
            listen: a valid address, see `values.listen_address`.
            scrape: returns all metrics in the format that suits an Accept header.
            deadlines: how long to wait for clients.
        """
        self.problem = ""
        """Why it does not listen; empty: it does, or has not been started."""
        deadlines = deadlines or Deadlines()
        address = parse_listen_address(listen)
        self._socket = (
            UnixSocket(address, _ANY_USER, fix="use a shorter one in [metrics] listen")
            if isinstance(address, Path)
            else TcpSocket(address)
        )
        self._listener = Listener(
            _MetricsSite(scrape, deadlines), self._socket, deadlines
        )
        self._is_open = False

    async def open(self) -> None:
        """Listen, unless it does already; a problem is logged once."""
        if self._is_open:
            return
        before = self.problem
        try:
            await self._listener.start()
        except ControlError as error:
            self.problem = f"metrics: {error}"
            if self.problem != before:
                logger.error("%s", self.problem)  # noqa: TRY400 - it says everything
        else:
            self.problem, self._is_open = "", True
            logger.info("metrics are served at %s", self._socket.name)

    async def stop(self) -> None:
        """Disconnect all clients and remove the socket."""
        await self._listener.stop()
        self._is_open = False


class _MetricsSite:
    """A web application with one path."""

    def __init__(self, scrape: Scrape, deadlines: Deadlines) -> None:
        self._scrape = scrape
        self._deadlines = deadlines

    def application(self) -> web.Application:
        application = web.Application(
            middlewares=[self._answer], client_max_size=BODY_LIMIT_BYTES
        )
        application.router.add_route("GET", METRICS_PATH, self._measure)
        return application

    async def stop(self) -> None:
        """Do nothing: a scrape changes nothing, and may be cut off."""

    @web.middleware
    async def _answer(
        self, request: web.Request, handler: Handler
    ) -> web.StreamResponse:
        return await answer(request, handler, self._deadlines.delivery_s)

    async def _measure(self, request: web.Request) -> web.Response:
        return metrics_answer(await self._scrape(request.headers.get("Accept", "")))
