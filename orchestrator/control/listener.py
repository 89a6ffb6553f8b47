# SPDX-License-Identifier: Apache-2.0
"""One listening socket of the daemon, and its clients."""

from __future__ import annotations

import asyncio
import os
import socket
from typing import TYPE_CHECKING, Protocol

from aiohttp import web

from orchestrator.control.connection import Connection
from orchestrator.control.peer_log import PeerLog
from orchestrator.control.places import Places
from orchestrator.control.service import peer_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from orchestrator.control.deadlines import Deadlines
    from orchestrator.control.listening_socket import ListeningSocket

MAX_CONNECTIONS = 64
"""Connections at one socket. Every user of the host may connect to the read-only one,
and the daemon needs its file descriptors for the guests' channels."""
MAX_PER_USER = 16
"""Connections of one user at one socket; see `places`."""
_SHUTDOWN_S = 0.5
"""Seconds for answers in progress when the daemon stops, which has 5 s in all."""


class Site(Protocol):
    """What is served at a socket."""

    def application(self) -> web.Application:
        """Build the web application."""
        ...

    async def stop(self) -> None:
        """End streams, reject further calls and let changes in progress finish."""
        ...


class Listener:
    """Serves one site at one socket, from `start` to `stop`.

    Synchronization: the asyncio thread only.
    """

    def __init__(
        self, site: Site, socket_: ListeningSocket, deadlines: Deadlines
    ) -> None:
        self._site = site
        self._socket = socket_
        self._deadlines = deadlines
        self._runner: web.AppRunner | None = None
        self._server: asyncio.Server | None = None
        self._peer_log = PeerLog(socket_.name)
        self._places: Places[Connection] = Places(
            MAX_CONNECTIONS,
            per_user=MAX_PER_USER,
            own_uid=os.geteuid(),
            end=Connection.abort,
        )

    async def start(self) -> None:
        """Create the socket and start to answer.

        Raises:
            ControlError: the socket cannot be created.
        """
        listening = self._socket.open()
        runner = web.AppRunner(
            self._site.application(),
            handler_cancellation=True,  # a disconnect ends the client's stream
            shutdown_timeout=_SHUTDOWN_S,
        )
        await runner.setup()
        self._runner = runner
        loop = asyncio.get_running_loop()
        create = (
            loop.create_unix_server
            if listening.family == socket.AF_UNIX
            else loop.create_server
        )
        self._server = await create(self._accept, sock=listening)

    @property
    def connections(self) -> int:
        """How many clients are connected."""
        return len(self._places)

    async def stop(self) -> None:
        """End streams and answers, disconnect all clients and remove the socket."""
        if self._server is None or self._runner is None:
            return
        # First the name: no client shall connect to a daemon that no longer answers.
        self._socket.remove()
        self._server.close()
        await self._site.stop()
        web_server = self._runner.server
        left = [] if web_server is None else web_server.connections
        transports = [each.transport for each in left if each.transport is not None]
        await self._runner.cleanup()
        for transport in transports:
            # also closes connections whose client does not read the rest
            if isinstance(transport, asyncio.WriteTransport):
                transport.abort()
        self._server = self._runner = None

    def _accept(self) -> asyncio.BaseProtocol:
        return _Admission(self._admit)

    def _admit(self, transport: asyncio.Transport) -> asyncio.BaseProtocol | None:
        server = self._runner.server if self._runner else None
        if server is None:
            return None
        uid = peer_of(transport.get_extra_info("socket")).uid
        connection = Connection(
            server,
            uid=uid,
            deadlines=self._deadlines,
            peer_log=self._peer_log,
            on_lost=self._places.leave,
        )
        if not self._places.take(connection, uid):
            self._peer_log.report("connection rejected", uid, "too many connections")
            return None
        return connection


class _Admission(asyncio.Protocol):
    """Passes a new connection to the web server, or closes it."""

    def __init__(
        self, admit: Callable[[asyncio.Transport], asyncio.BaseProtocol | None]
    ) -> None:
        self._admit = admit

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        if not isinstance(transport, asyncio.Transport):
            return
        protocol = self._admit(transport)
        if protocol is None:
            transport.abort()
            return
        transport.set_protocol(protocol)
        protocol.connection_made(transport)
