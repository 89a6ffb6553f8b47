# SPDX-License-Identifier: Apache-2.0
"""Answers of the API as HTTP responses, and their delivery."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import TYPE_CHECKING

from aiohttp import web
from aiohttp.http import HttpProcessingError
from pydantic import ValidationError

from orchestrator.control import BODY_LIMIT_BYTES, OPENAPI_PATH
from orchestrator.control.models import ErrorDocument, Failure
from orchestrator.errors import ControlError, VmpowerError

if TYPE_CHECKING:
    from aiohttp.typedefs import Handler

    from orchestrator.control.models import Document
    from orchestrator.control.service import Exposition

_DISCARD_BYTES = 16 * BODY_LIMIT_BYTES
_DISCARD_S = 1.0
"""How much of a rejected body is read after the answer, and how long. Most clients do
not read the answer before they have sent all of the body."""
CLIENT_FAULTS = (HttpProcessingError, web.RequestPayloadError, ConnectionError)
"""What aiohttp raises because of bytes that a client has sent, or has not sent."""


def document_answer(document: Document, status: int = 200) -> web.Response:
    """Build an answer that is one document."""
    return web.Response(
        status=status,
        text=document.model_dump_json(by_alias=True),
        content_type="application/json",
    )


def failure(status: int, message: str, hint: str = "") -> web.Response:
    """Build the answer to a call that failed."""
    document = ErrorDocument(error=Failure(message=message, hint=hint))
    return document_answer(document, status)


def failure_of(
    request: web.Request, error: web.HTTPException | ValidationError | VmpowerError
) -> web.Response:
    """Build the answer to a call that raised this error."""
    match error:
        case web.HTTPRequestEntityTooLarge():
            limit = f"the limit is {BODY_LIMIT_BYTES} bytes"
            return failure(413, "the body is too large", limit)
        case web.HTTPNotFound() | web.HTTPMethodNotAllowed():
            unknown = f"no such call: {request.method} {request.path}"
            answer = failure(error.status, unknown, f"{OPENAPI_PATH} lists all calls")
            if "Allow" in error.headers:
                answer.headers["Allow"] = error.headers["Allow"]
            return answer
        case web.HTTPException():
            return failure(error.status, error.reason)
        case ValidationError():
            return _invalid_body(error)
        case ControlError():
            return failure(error.status, str(error), error.hint)
        case VmpowerError():
            return failure(500, str(error), error.hint)


def _invalid_body(error: ValidationError) -> web.Response:
    """Report what is wrong with a body: 400 if it is not JSON, else 422."""
    found = error.errors(include_url=False, include_context=False, include_input=False)
    if found[0]["type"] == "json_invalid":
        reason = f"invalid body: {found[0]['msg']}"
        return failure(400, reason, "the body must be a JSON object")
    problems = [
        ": ".join(filter(None, (".".join(map(str, one["loc"])), one["msg"])))
        for one in found
    ]
    reason = f"invalid body: {'; '.join(problems)}"
    return failure(422, reason, f"{OPENAPI_PATH} describes the body")


async def answer(
    request: web.Request, handler: Handler, within_s: float
) -> web.StreamResponse:
    """Have a request answered, and deliver the answer; a failure is one, too.

    Args:
        request: the client's.
        handler: builds the answer.
        within_s: time for its delivery.
    """
    # Without a write buffer an answer counts as sent only when the kernel has it.
    if request.transport is not None:
        request.transport.set_write_buffer_limits(high=0)
    try:
        response = await handler(request)
    except (web.HTTPException, ValidationError, VmpowerError) as error:
        response = failure_of(request, error)
    return await deliver(request, response, within_s)


def metrics_answer(exposition: Exposition) -> web.Response:
    """Build an answer that is metrics."""
    headers = {"Content-Type": exposition.content_type}
    return web.Response(body=exposition.body, headers=headers)


async def deliver(
    request: web.Request, response: web.StreamResponse, within_s: float
) -> web.StreamResponse:
    """Send an answer, and disconnect a client that does not read it in time."""
    try:
        async with asyncio.timeout(within_s):
            await response.prepare(request)
            await response.write_eof()
    except TimeoutError:
        if request.transport is not None:
            request.transport.abort()
    except ConnectionError:
        pass  # the client disconnected; aiohttp notices it, too
    else:
        await _discard_body(request)
    return response


async def _discard_body(request: web.Request) -> None:
    """Read what the client still sends of its body; aiohttp closes if there is more."""
    left = _DISCARD_BYTES
    with suppress(TimeoutError, *CLIENT_FAULTS):
        async with asyncio.timeout(_DISCARD_S):
            while left > 0 and not request.content.at_eof():
                left -= len(await request.content.readany())
