# SPDX-License-Identifier: Apache-2.0
"""Keeps events over restarts of the daemon, in two files of bounded size.

Theory of operation: events are appended to `events.ndjson`, one JSON document per line.
A full file becomes `events.ndjson.1`, in place of the one before. A thread writes all
that wait at once and then rests, so that neither a slow disk nor many events delay the
daemon. Nothing is synced: after a power failure there are no domains that the events
could be about.

Synchronization: `append` and `close` in the asyncio thread; `_work_write` in a thread.
"""

from __future__ import annotations

import logging
import os
import threading
from collections import deque
from typing import TYPE_CHECKING

from pydantic import ValidationError

from orchestrator.control.models import EventRecord
from orchestrator.performer.call_pool import CallPool
from orchestrator.system.durable_file import read_own

if TYPE_CHECKING:
    from pathlib import Path

logger = logging.getLogger(__name__)

ARCHIVE_NAME = "events.ndjson"
"""File name in a daemon's run directory."""
MAX_FILE_BYTES = 400_000
"""About 2000 events; there are two files."""
MAX_WAITING = 4_000
"""Events that wait for a disk that hangs; the oldest of them are dropped."""
MAX_WRITE_S = 0.5
"""Longer than writing the last events takes on a working disk."""
REST_S = 0.05
"""Between two writes, each of which costs 0.04 ms; a crash loses the events of that
time. The stop of a domain causes a dozen events within milliseconds."""
_FLAGS = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC | os.O_NOFOLLOW


class EventArchive:
    """The events of this run and of earlier ones."""

    def __init__(self, path: Path, max_file_bytes: int = MAX_FILE_BYTES) -> None:
        self._path = path
        self._older = path.with_name(f"{path.name}.1")
        self._max_file_bytes = max_file_bytes
        self._waiting: deque[bytes] = deque(maxlen=MAX_WAITING)
        self._calls = CallPool("events", size=1)
        self._is_closing = threading.Event()
        self._problem = ""

    def load(self) -> list[EventRecord]:
        """Return the events of earlier runs, the oldest first; blocks.

        Lines that are not events, such as the last one before a crash, are left out.
        """
        found: dict[int, EventRecord] = {}
        damaged = 0
        for path in (self._older, self._path):
            for line in self._read_lines(path):
                try:
                    record = EventRecord.model_validate_json(line)
                    found[record.id] = record
                except ValidationError:
                    damaged += 1
        if damaged:
            logger.warning("left out %d damaged lines of %s", damaged, self._path)
        return [found[number] for number in sorted(found)]

    def append(self, record: EventRecord) -> None:
        """Write an event soon."""
        self._waiting.append(record.model_dump_json().encode() + b"\n")
        self._calls.submit("events", "write", self._work_write)

    def close(self) -> None:
        """Write what waits; blocks for MAX_WRITE_S at most."""
        self._is_closing.set()
        self._calls.stop()
        if self._calls.join(MAX_WRITE_S):
            self._work_write()

    def _read_lines(self, path: Path) -> list[bytes]:
        try:
            # One event may have been appended to a file that was nearly full.
            return read_own(path, 2 * self._max_file_bytes).splitlines()
        except FileNotFoundError:
            return []
        except OSError as error:
            logger.warning("cannot read %s: %s", path, error.strerror)
            return []

    def _work_write(self) -> None:
        lines = deque(self._waiting.popleft() for _ in range(len(self._waiting)))
        try:
            while lines:
                self._write(lines)
        except OSError as error:
            problem = error.strerror or str(error)
            if problem != self._problem:
                logger.warning("events will not outlive a restart: %s", problem)
            self._problem = problem
        else:
            self._problem = ""
        self._is_closing.wait(REST_S)

    def _write(self, lines: deque[bytes]) -> None:
        """Move lines to the file, in one write, until none is left or it is full."""
        fd = os.open(self._path, _FLAGS, 0o600)
        try:
            size = os.fstat(fd).st_size
            fitting: list[bytes] = []
            while lines and (not size or size + len(lines[0]) <= self._max_file_bytes):
                size += len(lines[0])
                fitting.append(lines.popleft())
            if fitting:
                os.write(fd, b"".join(fitting))
        finally:
            os.close(fd)
        if lines:
            self._path.replace(self._older)
