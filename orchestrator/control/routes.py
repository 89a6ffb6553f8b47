# SPDX-License-Identifier: Apache-2.0
"""The web application of one control socket: a route for each call of the table."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from aiohttp import web
from pydantic import ValidationError

from orchestrator.control import BODY_LIMIT_BYTES, CONTROL_SOCKET, OPENAPI_PATH
from orchestrator.control.calls import CALLS
from orchestrator.control.models import ErrorDocument, Failure
from orchestrator.control.openapi import build_openapi
from orchestrator.control.parameters import read_parameters
from orchestrator.control.service import peer_of
from orchestrator.control.table import ApiRequest, StreamCall
from orchestrator.errors import ControlError, VmpowerError

if TYPE_CHECKING:
    from collections.abc import Awaitable

    from aiohttp.typedefs import Handler

    from orchestrator.control.models import Document
    from orchestrator.control.service import ControlBackend, Peer
    from orchestrator.control.streams import Streams
    from orchestrator.control.table import Call, DocumentCall

_LAST_CHANGE_S = 1.0
"""Seconds for changes in progress when the daemon stops: 40 governor switches."""
_DELIVERY_S = 10.0
"""Seconds for a client to read its answer. A client that does not is disconnected, or
it could make the daemon keep documents for it."""


class Routes:
    """Answers the calls that arrive at one socket.

    Synchronization: the asyncio thread only.
    """

    def __init__(
        self, backend: ControlBackend, streams: Streams, *, is_read_only: bool
    ) -> None:
        self._backend = backend
        self._streams = streams
        self._is_read_only = is_read_only
        self._changes: set[asyncio.Task[Document]] = set()
        self._is_stopping = False

    def application(self) -> web.Application:
        """Build the application; each socket needs one."""
        application = web.Application(
            middlewares=[_failures_as_documents, self._guard],
            client_max_size=BODY_LIMIT_BYTES,
        )
        for call in CALLS:
            handler = (
                self._streamer(call)
                if isinstance(call, StreamCall)
                else self._answerer(call)
            )
            application.router.add_route(call.method, call.path, handler)
        openapi = build_openapi()

        async def describe(_: web.Request) -> web.Response:
            return web.json_response(openapi)

        application.router.add_route("GET", OPENAPI_PATH, describe)
        return application

    async def stop(self) -> None:
        """Reject further calls and let changes in progress finish."""
        self._is_stopping = True
        if self._changes:
            await asyncio.wait(self._changes, timeout=_LAST_CHANGE_S)
        for change in self._changes:
            change.cancel()

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
        return await handler(request)

    def _answerer(self, call: DocumentCall) -> Handler:
        async def handler(request: web.Request) -> web.Response:
            answering = call.handler(await self._read(call, request))
            document = await (answering if call.is_reading else self._change(answering))
            return _json(document)

        return handler

    def _streamer(self, call: StreamCall) -> Handler:
        async def handler(request: web.Request) -> web.StreamResponse:
            records = call.handler(await self._read(call, request))
            return await self._streams.send(request, records)

        return handler

    async def _read(self, call: Call, request: web.Request) -> ApiRequest[Any]:
        parameters = read_parameters(call.parameters, request.match_info, request.query)
        body = None
        if call.body is not None:
            body = call.body.model_validate_json(await request.read())
        return ApiRequest(
            backend=self._backend,
            who=_peer_of(request),
            parameters=parameters,
            body=body,
        )

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


@web.middleware
async def _failures_as_documents(
    request: web.Request, handler: Handler
) -> web.StreamResponse:
    # Without a write buffer an answer counts as sent only when the kernel has it.
    if request.transport is not None:
        request.transport.set_write_buffer_limits(high=0)
    try:
        response = await handler(request)
    except web.HTTPRequestEntityTooLarge:
        limit = f"the limit is {BODY_LIMIT_BYTES} bytes"
        response = _failure(413, "the body is too large", limit)
    except (web.HTTPNotFound, web.HTTPMethodNotAllowed) as error:
        unknown = f"no such call: {request.method} {request.path}"
        response = _failure(error.status, unknown, f"{OPENAPI_PATH} lists all calls")
    except web.HTTPException as error:
        response = _failure(error.status, error.reason)
    except ValidationError as error:
        response = _invalid_body(error)
    except ControlError as error:
        response = _failure(error.status, str(error), error.hint)
    except VmpowerError as error:
        response = _failure(500, str(error), error.hint)
    return await _deliver(request, response)


async def _deliver(
    request: web.Request, response: web.StreamResponse
) -> web.StreamResponse:
    try:
        async with asyncio.timeout(_DELIVERY_S):
            await response.prepare(request)
            await response.write_eof()
    except TimeoutError:
        if request.transport is not None:
            request.transport.abort()
    return response


def _peer_of(request: web.Request) -> Peer:
    sock = request.get_extra_info("socket")
    if sock is None:
        raise ControlError("the client disconnected", status=400)
    return peer_of(sock)


def _json(document: Document, status: int = 200) -> web.Response:
    return web.Response(
        status=status,
        text=document.model_dump_json(by_alias=True),
        content_type="application/json",
    )


def _failure(status: int, message: str, hint: str = "") -> web.Response:
    return _json(ErrorDocument(error=Failure(message=message, hint=hint)), status)


def _invalid_body(error: ValidationError) -> web.Response:
    """Report what is wrong with a body: 400 if it is not JSON, else 422."""
    found = error.errors(include_url=False, include_context=False, include_input=False)
    if found[0]["type"] == "json_invalid":
        reason = f"invalid body: {found[0]['msg']}"
        return _failure(400, reason, "the body must be a JSON object")
    problems = [
        ": ".join(filter(None, (".".join(map(str, one["loc"])), one["msg"])))
        for one in found
    ]
    reason = f"invalid body: {'; '.join(problems)}"
    return _failure(422, reason, f"{OPENAPI_PATH} describes the body")
