# SPDX-License-Identifier: Apache-2.0
"""Sends streams of documents, one JSON document per line."""

from __future__ import annotations

import asyncio
import os
from contextlib import aclosing, suppress
from typing import TYPE_CHECKING

from aiohttp import web

from orchestrator.control.places import Places
from orchestrator.errors import ControlError

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from orchestrator.control.models import EventRecord

    Records = AsyncGenerator[EventRecord, None]

MAX_STREAMS = 32
"""Streams at one socket. Each holds a connection for as long as its client wants, and
each event is encoded for each of them."""
MAX_PER_USER = 8
"""Streams of one user at one socket; see `places`."""


class Streams:
    """The streams that are being sent at one socket; they can be stopped together.

    Synchronization: the asyncio thread only.
    """

    def __init__(self) -> None:
        self._places: Places[asyncio.Transport] = Places(
            MAX_STREAMS,
            per_user=MAX_PER_USER,
            own_uid=os.geteuid(),
            end=asyncio.Transport.abort,
        )
        self._stopping = asyncio.Event()

    async def send(
        self, request: web.Request, uid: int, records: Records
    ) -> web.StreamResponse:
        """Send records until they end, the client disconnects or `stop` is called.

        Args:
            request: the client's.
            uid: the client's user.
            records: what to send.

        Raises:
            ControlError: 503, there are too many streams; 400, no client any more.
        """
        connection = request.transport
        if connection is None:
            raise ControlError("the client disconnected", status=400)
        if not self._places.take(connection, uid):
            raise ControlError(
                "too many event streams",
                status=503,
                hint=f"the limit is {MAX_STREAMS} at one socket, {MAX_PER_USER} for one"
                " user; end one of them",
            )
        response = web.StreamResponse()
        response.content_type = "application/x-ndjson"
        try:
            await response.prepare(request)
            async with aclosing(records):
                with suppress(ConnectionError):  # the client disconnected
                    await self._pump(response, records)
        finally:
            self._places.leave(connection)
        return response

    def stop(self) -> None:
        """End every stream after the record that is being sent."""
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
    """Wait for the next record; None: the records ended, or the daemon is stopping.

    Only this wait is cancelled, never a write: once a writer has been cancelled,
    aiohttp no longer lets anything wait for its buffer.
    """
    coming = asyncio.ensure_future(anext(records, None))
    try:
        await asyncio.wait({coming, stopping}, return_when=asyncio.FIRST_COMPLETED)
        return None if stopping.done() else coming.result()
    finally:
        coming.cancel()
        await asyncio.wait({coming})
