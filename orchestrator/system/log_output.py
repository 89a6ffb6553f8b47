# SPDX-License-Identifier: Apache-2.0
"""Writes the log from a thread, so that the daemon never waits for its reader.

Theory of operation: the log goes to standard error, often a pipe. A write to a pipe
that is full blocks until its reader continues; in the event loop of main that would
stop the API, the handling of SIGTERM and the taking of clock groups. So messages are
put into a queue of limited size, and what does not fit is dropped and counted.

Where standard error is connected to the journal, the thread sends messages with fields
there instead (see `journal`).
"""

from __future__ import annotations

import logging
import os
import select
import threading
from collections import deque
from typing import TYPE_CHECKING, Protocol

from orchestrator.system.journal import FIELDS

if TYPE_CHECKING:
    from collections.abc import Mapping

_CAPACITY_BYTES = 1 << 20
"""Messages of some hours, or of a burst while the service manager's journal is busy."""
_FLUSH_S = 0.5
"""Seconds that the end of the process waits for the reader."""


class Sink(Protocol):
    """Where messages go."""

    def encode(self, text: str, level: int, fields: Mapping[str, object]) -> bytes:
        """Encode a message; called by any thread."""
        ...

    def write(self, messages: list[bytes]) -> None:
        """Write encoded messages, for however long that takes; one thread calls it."""
        ...


class LineSink:
    """Writes each message as one line to a file descriptor."""

    def __init__(self, fd: int) -> None:
        self._fd = fd

    def encode(self, text: str, level: int, fields: Mapping[str, object]) -> bytes:
        """Encode a message; level and fields are in its text."""
        del level, fields
        return text.encode(errors="backslashreplace") + b"\n"

    def write(self, messages: list[bytes]) -> None:
        """Write lines; they are lost if it is impossible."""
        _write_all(self._fd, b"".join(messages))


class LogOutput(logging.Handler):
    """A handler that writes messages without blocking its callers.

    Synchronization: any thread.
    """

    def __init__(self, sink: Sink, *, capacity_bytes: int = _CAPACITY_BYTES) -> None:
        """Start the thread.

        Args:
            sink: written to, by the thread.
            capacity_bytes: how much is kept until it is written.
        """
        super().__init__()
        self._sink = sink
        self._capacity_bytes = capacity_bytes
        self._changed = threading.Condition()
        self._queue: deque[bytes] = deque()
        self._kept_bytes = 0  # in the queue, or being written
        self._dropped = 0
        self._is_closed = False
        threading.Thread(target=self._run, name="log", daemon=True).start()

    def emit(self, record: logging.LogRecord) -> None:
        """Format a message and queue it."""
        try:
            text = self.format(record)
        except (TypeError, ValueError):  # arguments that do not fit the format
            self.handleError(record)
        else:
            self.write(text, record.levelno, getattr(record, FIELDS, {}))

    def write(
        self,
        text: str,
        level: int = logging.ERROR,
        fields: Mapping[str, object] | None = None,
    ) -> None:
        """Queue a message, or count it as dropped if too many are waiting."""
        message = self._sink.encode(text, level, fields or {})
        with self._changed:
            notice = self._describe_drops()
            if self._kept_bytes + len(notice) + len(message) > self._capacity_bytes:
                self._dropped += 1
                return
            self._dropped = 0
            if notice:
                self._append(notice)
            self._append(message)

    def flush(self) -> None:
        """Wait until everything is written, or half a second."""
        with self._changed:
            self._changed.wait_for(lambda: not self._kept_bytes, _FLUSH_S)

    def close(self) -> None:
        """End the thread once it has written what is queued."""
        with self._changed:
            self._is_closed = True
            self._changed.notify_all()
        super().close()

    def _append(self, data: bytes) -> None:
        self._queue.append(data)
        self._kept_bytes += len(data)
        self._changed.notify_all()

    def _run(self) -> None:
        while messages := self._next():
            self._sink.write(messages)
            with self._changed:
                self._kept_bytes -= sum(map(len, messages))
                if self._dropped and not self._kept_bytes:
                    self._append(self._describe_drops())
                    self._dropped = 0
                self._changed.notify_all()

    def _next(self) -> list[bytes]:
        """Wait for messages to write; empty: the handler is closed."""
        with self._changed:
            self._changed.wait_for(lambda: self._queue or self._is_closed)
            messages = list(self._queue)
            self._queue.clear()
            return messages

    def _describe_drops(self) -> bytes:
        if not self._dropped:
            return b""
        text = f"WARNING log messages dropped count={self._dropped}"
        return self._sink.encode(text, logging.WARNING, {})


def _write_all(fd: int, data: bytes) -> None:
    """Write bytes, for however long that takes; they are lost if it is impossible."""
    rest = memoryview(data)
    while rest:
        try:
            rest = rest[os.write(fd, rest) :]
        except BlockingIOError:  # another process has made the open file non-blocking
            poll = select.poll()
            poll.register(fd, select.POLLOUT)
            poll.poll()
        except OSError:  # no reader any more, or a full disk
            return
