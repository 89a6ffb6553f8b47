# SPDX-License-Identifier: Apache-2.0
"""One client's connection to the API.

A client may send anything. Bodies are never decompressed: a gzip bomb of 0.4 MB would
keep the event loop busy for seconds. A client that sends many requests before it reads
an answer is disconnected. What is not HTTP is answered with an error
document, and logged as one line of limited length and frequency.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from aiohttp import web

from orchestrator.control.answers import CLIENT_FAULTS, failure

if TYPE_CHECKING:
    from collections.abc import Callable

    from orchestrator.control.deadlines import Deadlines
    from orchestrator.control.peer_log import PeerLog


MAX_SENT_AHEAD = 64
"""Requests that may wait for an answer to an earlier one. aiohttp reads no more than
that from 3.14 on; earlier ones, such as Debian 13's, read and keep any number."""


class Connection(web.RequestHandler):
    """Parses requests of one client and sends the answers.

    Synchronization: the asyncio thread only.
    """

    def __init__(
        self,
        server: web.Server,
        *,
        uid: int,
        deadlines: Deadlines,
        peer_log: PeerLog,
        on_lost: Callable[[Connection], None],
    ) -> None:
        """Prepare for `connection_made`.

        Args:
            server: the web server that answers the requests.
            uid: the client's user.
            deadlines: how long to wait for the client.
            peer_log: log for what the client does wrong.
            on_lost: called once the connection has ended.
        """
        super().__init__(
            server,
            loop=asyncio.get_running_loop(),
            access_log=None,  # type: ignore[arg-type] # None is permitted
            auto_decompress=False,
            keepalive_timeout=deadlines.request_s,
            lingering_time=0,  # answers.deliver discards the rest of a body
        )
        self._uid = uid
        self._peer_log = peer_log
        self._on_lost = on_lost
        # aiohttp waits for ever for the first request of a connection before 3.14.
        self._first_deadline = asyncio.get_running_loop().call_later(
            deadlines.request_s, self.abort
        )

    def data_received(self, data: bytes) -> None:
        """Parse what the client sent."""
        try:
            super().data_received(data)
        except ValueError as error:  # of aiohttp before 3.14: an invalid URL
            self._peer_log.report("malformed request", self._uid, error)
            self._reject()
            return
        if self._messages:
            self._first_deadline.cancel()
        if len(self._messages) > MAX_SENT_AHEAD:
            self._peer_log.report("connection closed", self._uid, "too many requests")
            self.abort()

    def connection_lost(self, exc: BaseException | None) -> None:
        """End the calls of the client."""
        self._first_deadline.cancel()
        super().connection_lost(exc)
        self._on_lost(self)

    def abort(self) -> None:
        """Disconnect at once, whatever is still to be sent."""
        if isinstance(self.transport, asyncio.WriteTransport):
            self.transport.abort()

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        """Answer a request that is malformed, or whose call failed unexpectedly."""
        if isinstance(exc, CLIENT_FAULTS):
            response = failure(400, "malformed request")
        else:
            response = failure(status, "internal error", "see the daemon's log")
        self._report(exc, message)
        if request.writer.output_size > 0:  # a part of another answer
            raise ConnectionError("an answer was sent already")
        response.force_close()
        return response

    def _reject(self) -> None:
        """Answer what could not be parsed, unless another answer is being sent."""
        if self._current_request is None and isinstance(
            self.transport, asyncio.WriteTransport
        ):
            head = "HTTP/1.1 400 Bad Request\r\nContent-Type: application/json\r\n\r\n"
            body = failure(400, "malformed request").text
            self.transport.write(f"{head}{body}".encode())
            self.transport.close()
        else:
            self.abort()

    def log_exception(self, *_: object, **kw: object) -> None:
        """Log an exception outside of a call; aiohttp closes the connection then."""
        error = kw.get("exc_info")
        self._report(error if isinstance(error, BaseException) else None)

    def _report(self, error: BaseException | None, message: str | None = None) -> None:
        if isinstance(error, ConnectionError):
            return  # the client disconnected
        if isinstance(error, CLIENT_FAULTS):
            self._peer_log.report("malformed request", self._uid, message or error)
        else:
            self._peer_log.report_defect(self._uid, error)
