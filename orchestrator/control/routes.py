# SPDX-License-Identifier: Apache-2.0
"""The web application of one control socket: a route for each call of the table."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from aiohttp import web

from orchestrator.control import (
    BODY_LIMIT_BYTES,
    CONTROL_SOCKET,
    METRICS_PATH,
    OPENAPI_PATH,
)
from orchestrator.control.answers import (
    CLIENT_FAULTS,
    answer,
    document_answer,
    metrics_answer,
)
from orchestrator.control.calls import CALLS
from orchestrator.control.openapi import build_openapi
from orchestrator.control.parameters import read_parameters
from orchestrator.control.service import peer_of
from orchestrator.control.streams import Streams
from orchestrator.control.table import ApiRequest, StreamCall
from orchestrator.errors import ControlError
from orchestrator.values.safe_text import printable

if TYPE_CHECKING:
    from collections.abc import Awaitable

    from aiohttp.typedefs import Handler

    from orchestrator.control.deadlines import Deadlines
    from orchestrator.control.models import Document
    from orchestrator.control.service import ControlBackend, Peer
    from orchestrator.control.table import Call, DocumentCall

_LAST_CHANGE_S = 1.0
"""Seconds for changes in progress when the daemon stops: 40 governor switches."""


class Routes:
    """Answers the calls that arrive at one socket.

    Synchronization: the asyncio thread only.
    """

    def __init__(
        self,
        backend: ControlBackend,
        deadlines: Deadlines,
        *,
        is_read_only: bool,
    ) -> None:
        self._backend = backend
        self._deadlines = deadlines
        self._streams = Streams()
        self._is_read_only = is_read_only
        self._changes: set[asyncio.Task[Document]] = set()
        self._is_stopping = False

    def application(self) -> web.Application:
        """Build the application; each socket needs one."""
        application = web.Application(
            middlewares=[self._answer, self._guard],
            client_max_size=BODY_LIMIT_BYTES,
        )
        for call in CALLS:
            handler = (
                self._streamer(call)
                if isinstance(call, StreamCall)
                else self._answerer(call)
            )
            application.router.add_route(call.method, call.path, handler)

        async def describe(_: web.Request) -> web.Response:
            # In a thread: the first time takes 0.1 s of CPU time.
            return web.json_response(await asyncio.to_thread(build_openapi))

        async def measure(request: web.Request) -> web.Response:
            accept = request.headers.get("Accept", "")
            return metrics_answer(await self._backend.metrics(accept))

        application.router.add_route("GET", OPENAPI_PATH, describe)
        application.router.add_route("GET", METRICS_PATH, measure)
        return application

    async def stop(self) -> None:
        """End streams, reject further calls and let changes in progress finish."""
        self._streams.stop()
        self._is_stopping = True
        if self._changes:
            await asyncio.wait(self._changes, timeout=_LAST_CHANGE_S)
        for change in self._changes:
            change.cancel()

    @web.middleware
    async def _answer(
        self, request: web.Request, handler: Handler
    ) -> web.StreamResponse:
        return await answer(request, handler, self._deadlines.delivery_s)

    @web.middleware
    async def _guard(
        self, request: web.Request, handler: Handler
    ) -> web.StreamResponse:
        if self._is_stopping:
            raise ControlError("the daemon is stopping", status=503)
        if self._is_read_only and request.method != "GET":
            raise ControlError(
                "permission denied: this socket is read-only",
                status=403,
                hint=f"use {CONTROL_SOCKET}, as a member of its group",
            )
        _check_encoding(request)
        return await handler(request)

    def _answerer(self, call: DocumentCall) -> Handler:
        async def handler(request: web.Request) -> web.Response:
            answering = call.handler(await self._read(call, request))
            document = await (answering if call.is_reading else self._change(answering))
            return document_answer(document)

        return handler

    def _streamer(self, call: StreamCall) -> Handler:
        async def handler(request: web.Request) -> web.StreamResponse:
            read = await self._read(call, request)
            return await self._streams.send(request, read.who.uid, call.handler(read))

        return handler

    async def _read(self, call: Call, request: web.Request) -> ApiRequest[Any]:
        parameters = read_parameters(call.parameters, request.match_info, request.query)
        body = None
        if call.body is not None:
            body = call.body.model_validate_json(await self._read_body(request))
        return ApiRequest(
            backend=self._backend,
            who=_peer_of(request),
            parameters=parameters,
            body=body,
        )

    async def _read_body(self, request: web.Request) -> bytes:
        try:
            async with asyncio.timeout(self._deadlines.body_s):
                return await request.read()
        except TimeoutError as error:
            raise ControlError(
                f"the body did not arrive within {self._deadlines.body_s:g} s",
                status=408,
            ) from error
        except CLIENT_FAULTS as error:
            raise ControlError("the body is malformed", status=400) from error

    async def _change(self, changing: Awaitable[Document]) -> Document:
        """Let a change finish even if the client disconnects."""
        task = asyncio.ensure_future(changing)
        self._changes.add(task)
        task.add_done_callback(self._changed)
        return await asyncio.shield(task)

    def _changed(self, task: asyncio.Task[Document]) -> None:
        self._changes.discard(task)
        if not task.cancelled():
            task.exception()  # retrieved: after a disconnect nothing else awaits it


def _check_encoding(request: web.Request) -> None:
    """Reject compressed bodies: at most 64 KB need no compression.

    Raises:
        ControlError: 415, the body is encoded.
    """
    for encoding in request.headers.getall("Content-Encoding", ()):
        if encoding.strip().lower() != "identity":
            raise ControlError(
                f"unsupported Content-Encoding '{printable(encoding[:40])}'",
                status=415,
                hint="send the body as plain JSON",
            )


def _peer_of(request: web.Request) -> Peer:
    sock = request.get_extra_info("socket")
    if sock is None:
        raise ControlError("the client disconnected", status=400)
    return peer_of(sock)
