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

    Records = AsyncGenerator[EventRecord, None]

MAX_STREAMS = 16
"""Streams at one socket: each holds a descriptor for as long as it likes."""


class Streams:
    """The streams that are being sent at one socket, and their common end.

    Synchronization: the asyncio thread only.
    """

    def __init__(self) -> None:
        self._active = 0
        self._stopping = asyncio.Event()

    async def send(self, request: web.Request, records: Records) -> web.StreamResponse:
        """Send records until they end, the client leaves or `stop` is called.

        Raises:
            ControlError: 503, there are too many streams already.
        """
        if self._active >= MAX_STREAMS:
            raise ControlError(
                "too many event streams",
                status=503,
                hint=f"{MAX_STREAMS} at one socket are the most; end one of them",
            )
        response = web.StreamResponse()
        response.content_type = "application/x-ndjson"
        self._active += 1
        try:
            await response.prepare(request)
            async with aclosing(records):
                with suppress(ConnectionError):  # the client left: nobody to tell
                    await self._pump(response, records)
        finally:
            self._active -= 1
        return response

    def stop(self) -> None:
        """End all streams after the record that each is sending."""
        self._stopping.set()

    async def _pump(self, response: web.StreamResponse, records: Records) -> None:
        stopping = asyncio.ensure_future(self._stopping.wait())
        try:
            while record := await _next(records, stopping):
                line = record.model_dump_json(by_alias=True)
                await response.write(line.encode() + b"\n")
        finally:
            stopping.cancel()


async def _next(records: Records, stopping: asyncio.Task[bool]) -> EventRecord | None:
    """Wait for the next record; None: there is none, or the daemon stops.

    Only this waiting is cut short, never a write: aiohttp lets nobody wait for its
    buffer any more after a writer was cancelled.
    """
    coming = asyncio.ensure_future(anext(records, None))
    try:
        await asyncio.wait({coming, stopping}, return_when=asyncio.FIRST_COMPLETED)
        return None if stopping.done() else coming.result()
    finally:
        coming.cancel()
        await asyncio.wait({coming})
