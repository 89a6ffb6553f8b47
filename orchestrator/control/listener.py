# SPDX-License-Identifier: Apache-2.0
"""One listening UNIX socket of the control API."""

from __future__ import annotations

import asyncio
import logging
import os
import socket
import stat
from typing import TYPE_CHECKING

from aiohttp import web

from orchestrator.control.connection import Connection
from orchestrator.control.peer_log import PeerLog
from orchestrator.control.places import Places
from orchestrator.control.routes import Routes
from orchestrator.control.service import peer_of
from orchestrator.control.streams import Streams
from orchestrator.errors import ControlError
from orchestrator.values.domain import MAX_SOCKET_PATH_BYTES

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from orchestrator.control.deadlines import Deadlines
    from orchestrator.control.service import ControlBackend

logger = logging.getLogger(__name__)

MAX_CONNECTIONS = 64
"""Connections at one socket. Every user of the host may connect to the read-only one,
and the daemon needs its file descriptors for the guests' channels."""
MAX_PER_USER = 16
"""Connections of one user at one socket; see `places`."""
_BACKLOG = 64
_SHUTDOWN_S = 0.5
"""Seconds for answers in progress when the daemon stops, which has 5 s in all."""


class Listener:
    """Serves the API at one path, from `start` to `stop`.

    Synchronization: the asyncio thread only.
    """

    def __init__(
        self,
        backend: ControlBackend,
        path: Path,
        *,
        mode: int,
        is_read_only: bool,
        deadlines: Deadlines,
    ) -> None:
        self._path = path
        self._mode = mode
        self._deadlines = deadlines
        self._streams = Streams()
        self._routes = Routes(
            backend, self._streams, deadlines, is_read_only=is_read_only
        )
        self._runner: web.AppRunner | None = None
        self._server: asyncio.Server | None = None
        self._peer_log = PeerLog(path)
        self._places: Places[Connection] = Places(
            MAX_CONNECTIONS,
            per_user=MAX_PER_USER,
            own_uid=os.geteuid(),
            end=Connection.abort,
        )

    async def start(self, group_id: int | None) -> None:
        """Create the socket and start to answer.

        Args:
            group_id: group of the socket; None: the process's.

        Raises:
            ControlError: the path is too long, exists as a file, or is not writable.
        """
        listening = _listen(self._path, self._mode, group_id)
        runner = web.AppRunner(
            self._routes.application(),
            handler_cancellation=True,  # a disconnect ends the client's stream
            shutdown_timeout=_SHUTDOWN_S,
        )
        await runner.setup()
        self._runner = runner
        loop = asyncio.get_running_loop()
        self._server = await loop.create_unix_server(self._accept, sock=listening)

    @property
    def connections(self) -> int:
        """How many clients are connected."""
        return len(self._places)

    async def stop(self) -> None:
        """End streams and answers, disconnect all clients and remove the socket."""
        if self._server is None or self._runner is None:
            return
        # First the name: no client shall connect to a daemon that no longer answers.
        remove(self._path)
        self._server.close()
        self._streams.stop()
        await self._routes.stop()
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


def _listen(path: Path, mode: int, group_id: int | None) -> socket.socket:
    if len(os.fsencode(path)) > MAX_SOCKET_PATH_BYTES:
        raise ControlError(
            f"socket path {path} is longer than {MAX_SOCKET_PATH_BYTES} bytes",
            status=500,
            hint="use a shorter --run-dir",
        )
    kind = socket.SOCK_STREAM | socket.SOCK_NONBLOCK
    sock = socket.socket(socket.AF_UNIX, kind)
    try:
        _remove_stale(path)
        # Private until its group is set. The umask would do, but all threads share it.
        os.fchmod(sock.fileno(), 0o600)
        sock.bind(os.fspath(path))
        if group_id is not None:
            os.chown(path, -1, group_id)
        path.chmod(mode)
        sock.listen(_BACKLOG)
    except OSError as error:
        sock.close()
        raise ControlError(
            f"cannot listen at {path}: {error.strerror}", status=500
        ) from error
    except ControlError:
        sock.close()
        raise
    return sock


def remove(path: Path) -> None:
    """Remove a socket or lock at the end; the next start replaces what stays."""
    try:
        path.unlink(missing_ok=True)
    except OSError as error:
        logger.warning("cannot remove %s: %s", path, error.strerror)


def _remove_stale(path: Path) -> None:
    """Remove the socket of a killed daemon; the caller has locked the directory."""
    try:
        found = path.lstat()
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(found.st_mode):
        raise ControlError(f"{path} exists and is not a socket", status=500)
    path.unlink()
