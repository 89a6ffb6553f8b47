# SPDX-License-Identifier: Apache-2.0
"""The system's journal, which takes fields beside a message: DOMAIN=fw, CHANNEL=0.

Source: https://systemd.io/JOURNAL_NATIVE_PROTOCOL/ (a datagram for each message;
systemd 252 and 257 were tried), systemd.exec(5) ($JOURNAL_STREAM),
systemd.journal-fields(7), syslog(3) (priorities).
"""

from __future__ import annotations

import contextlib
import logging
import os
import socket
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

SOCKET = "/run/systemd/journal/socket"
FIELDS = "journal_fields"
"""The attribute of a log record that has its fields; `extra` of the logger sets it."""
_SYSLOG_PRIORITIES = (
    (logging.ERROR, 3),
    (logging.WARNING, 4),
    (logging.INFO, 6),
)
_DEBUG_PRIORITY = 7
_LENGTH_BYTES = 8
"""Of the length in front of a value with several lines."""


def is_connected_to(fd: int) -> bool:
    """Return whether a file descriptor is a stream to the journal."""
    device, _, inode = os.environ.get("JOURNAL_STREAM", "").partition(":")
    found = os.fstat(fd)
    return (device, inode) == (str(found.st_dev), str(found.st_ino))


class JournalSink:
    """Sends messages to the journal; to a file descriptor while that is impossible.

    Synchronization: `encode` from any thread, `write` from one.
    """

    def __init__(self, fd: int, *, path: str = SOCKET) -> None:
        """Prepare; nothing is sent yet.

        Args:
            fd: gets the text of messages that the journal does not take.
            path: the journal's socket.
        """
        self._fd = fd
        self._path = path
        self._socket = socket.socket(
            socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC
        )

    def close(self) -> None:
        """Send nothing any more."""
        self._socket.close()

    def encode(self, text: str, level: int, fields: Mapping[str, object]) -> bytes:
        """Encode a message.

        Args:
            text: the message.
            level: its severity, as in `logging`.
            fields: further fields, by name in capital letters.
        """
        complete = {
            "MESSAGE": text,
            "PRIORITY": _priority(level),
            "SYSLOG_IDENTIFIER": "vmpowerd",
            **fields,
        }
        return b"".join(_field(name, str(value)) for name, value in complete.items())

    def write(self, messages: list[bytes]) -> None:
        """Send messages, for however long that takes."""
        for message in messages:
            try:
                self._socket.sendto(message, self._path)
            except OSError:  # it restarts, or the message is too large
                self._write_text(message)

    def _write_text(self, message: bytes) -> None:
        text = message.partition(b"\nPRIORITY=")[0].removeprefix(b"MESSAGE")
        text = text[1 if text[:1] == b"=" else 1 + _LENGTH_BYTES :]
        with contextlib.suppress(OSError):
            os.write(self._fd, text + b"\n")


def _priority(level: int) -> int:
    for lowest, priority in _SYSLOG_PRIORITIES:
        if level >= lowest:
            return priority
    return _DEBUG_PRIORITY


def _field(name: str, value: str) -> bytes:
    data = value.encode(errors="backslashreplace")
    if b"\n" in data:
        return b"%s\n%s%s\n" % (
            name.encode(),
            len(data).to_bytes(_LENGTH_BYTES, "little"),
            data,
        )
    return b"%s=%s\n" % (name.encode(), data)
