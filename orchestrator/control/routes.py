"""The web application of one control socket: routes made from the table of calls."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from aiohttp import web
from pydantic import ValidationError

from orchestrator.control import calls
from orchestrator.control.handlers import ANSWERS, Question, read_parameters
from orchestrator.control.models import ErrorDocument, Failure
from orchestrator.control.openapi import build_openapi, model_of
from orchestrator.control.service import peer_of
from orchestrator.errors import ControlError, VmpowerError

if TYPE_CHECKING:
    from aiohttp.typedefs import Handler

    from orchestrator.control.handlers import Answer
    from orchestrator.control.models import Document
    from orchestrator.control.service import ControlBackend, Peer
    from orchestrator.control.streams import Streams

_LAST_CHANGE_S = 1.0
"""Seconds for a change under way when the daemon stops: 40 governor switches."""
_DELIVERY_S = 10.0
"""Seconds for a client to take its answer; one that does not read is hung up on, so
that it cannot make the daemon keep documents for it."""


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
        """Build the application; one socket needs one of its own."""
        application = web.Application(
            middlewares=[_failures_as_documents, self._guard],
            client_max_size=calls.BODY_LIMIT_BYTES,
        )
        for call in calls.CALLS:
            handler = self._streamer(call) if call.is_stream else self._answerer(call)
            application.router.add_route(call.method, call.path, handler)
        openapi = build_openapi()

        async def describe(_: web.Request) -> web.Response:
            return web.json_response(openapi)

        application.router.add_route("GET", calls.OPENAPI_PATH, describe)
        return application

    async def stop(self) -> None:
        """Refuse further calls and give changes that are under way time to end."""
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
                "this socket only reads",
                status=403,
                hint=f"changes go through {calls.CONTROL_SOCKET}, "
                "as a member of its group",
            )
        return await handler(request)

    def _answerer(self, call: calls.Call[Any]) -> Handler:
        answer = ANSWERS[call]

        async def handler(request: web.Request) -> web.Response:
            question = await self._question(call, request)
            if call.is_reading:
                document = await answer(question)
            else:
                document = await self._change(answer, question)
            return _json(document)

        return handler

    def _streamer(self, call: calls.Call[Any]) -> Handler:
        async def handler(request: web.Request) -> web.StreamResponse:
            question = await self._question(call, request)
            records = self._backend.events(
                follow=bool(question.parameters.get("follow", False)),
                clocks=bool(question.parameters.get("clocks", True)),
            )
            return await self._streams.send(request, records)

        return handler

    async def _question(self, call: calls.Call[Any], request: web.Request) -> Question:
        body = None
        parameters = read_parameters(call, request.match_info, request.query)
        if call.request is not None:
            body = model_of(call.request).model_validate_json(await request.read())
        return Question(
            backend=self._backend,
            who=_peer_of(request),
            parameters=parameters,
            body=body,
        )

    async def _change(self, answer: Answer, question: Question) -> Document:
        """Let a change come to its end although the client may hang up."""
        task = asyncio.ensure_future(answer(question))
        self._changes.add(task)
        task.add_done_callback(self._changed)
        return await asyncio.shield(task)

    def _changed(self, task: asyncio.Task[Document]) -> None:
        self._changes.discard(task)
        if not task.cancelled():
            task.exception()  # taken, so that it is no surprise if nobody waits


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
        limit = f"a body has at most {calls.BODY_LIMIT_BYTES} bytes"
        response = _failure(413, "the body is too large", limit)
    except web.HTTPException as error:
        response = _failure(error.status, error.reason)
    except ValidationError as error:
        response = _refusal(error)
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
        raise ControlError("the caller hung up", status=400)
    return peer_of(sock)


def _json(document: Document, status: int = 200) -> web.Response:
    return web.Response(
        status=status,
        text=document.model_dump_json(by_alias=True),
        content_type="application/json",
    )


def _failure(status: int, message: str, hint: str = "") -> web.Response:
    return _json(ErrorDocument(error=Failure(message=message, hint=hint)), status)


def _refusal(error: ValidationError) -> web.Response:
    """Say what is wrong with a body: 400 if it is no JSON, else 422."""
    found = error.errors(include_url=False, include_context=False, include_input=False)
    if found[0]["type"] == "json_invalid":
        return _failure(400, found[0]["msg"], "the body must be a JSON object")
    words = [
        ": ".join(filter(None, (".".join(map(str, one["loc"])), one["msg"])))
        for one in found
    ]
    return _failure(422, "; ".join(words), f"{calls.OPENAPI_PATH} describes the body")
