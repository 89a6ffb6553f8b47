"""Sends streams of documents, one JSON document per line."""

from __future__ import annotations

import asyncio
from contextlib import aclosing, suppress
from typing import TYPE_CHECKING

from aiohttp import web

from orchestrator.errors import ControlError

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from orchestrator.control.models import EventRecord

MAX_STREAMS = 16
"""Streams at one socket: each holds a descriptor for as long as it likes."""
_LAST_WORDS_S = 0.25
"""Seconds for a reader to take the end of its stream when the daemon stops; together
with the rest of a stop this must stay far below 5 s."""


class Streams:
    """The streams that are being sent at one socket, and their common end.

    Synchronization: the asyncio thread only.
    """

    def __init__(self) -> None:
        self._senders: set[asyncio.Task[None]] = set()

    async def send(
        self, request: web.Request, records: AsyncGenerator[EventRecord, None]
    ) -> web.StreamResponse:
        """Send records until they end, the client leaves or `stop` is called.

        Raises:
            ControlError: 503, there are too many streams already.
        """
        if len(self._senders) >= MAX_STREAMS:
            raise ControlError(
                "too many event streams",
                status=503,
                hint=f"{MAX_STREAMS} at one socket are the most; end one of them",
            )
        response = web.StreamResponse()
        response.content_type = "application/x-ndjson"
        await response.prepare(request)
        sender = asyncio.ensure_future(_pump(response, records))
        self._senders.add(sender)
        try:
            # wait() and not await: a sender that stop() cancels ends the stream,
            # it does not cancel its handler.
            await asyncio.wait({sender})
        finally:
            # Here also when the client leaves, which cancels this handler.
            sender.cancel()
            await asyncio.wait({sender})
            self._senders.discard(sender)
        if not sender.cancelled():
            sender.result()
        await _finish(request, response)
        return response

    async def stop(self) -> None:
        """End all streams."""
        for sender in self._senders:
            sender.cancel()


async def _pump(
    response: web.StreamResponse, records: AsyncGenerator[EventRecord, None]
) -> None:
    async with aclosing(records):
        with suppress(ConnectionError):  # the client left: nobody to tell
            async for record in records:
                line = record.model_dump_json(by_alias=True)
                await response.write(line.encode() + b"\n")


async def _finish(request: web.Request, response: web.StreamResponse) -> None:
    """Send the end of the stream, or hang up on a client that does not read."""
    try:
        async with asyncio.timeout(_LAST_WORDS_S):
            await response.write_eof()
    except (TimeoutError, ConnectionError):
        if request.transport is not None:
            request.transport.abort()
