# SPDX-License-Identifier: Apache-2.0
"""The socket between main and monitor: messages with descriptors, never blocking.

A SOCK_SEQPACKET pair preserves message boundaries and notifies either side of the
other's death. What does not fit into the socket is queued here, in order, with
duplicates of its descriptors, so that the sender may close its own at once.

Source: man 7 unix (SCM_RIGHTS: at most 253 descriptors in a message; ETOOMANYREFS:
more of them in flight than the sender may have open).
"""

from __future__ import annotations

# Not `socket`: it costs the monitor 7 ms and 1.4 MB for unused names.
import _socket
import array
import contextlib
import errno
import fcntl
import os
import select
from collections import deque
from typing import TYPE_CHECKING, NamedTuple

from orchestrator.errors import HandoffError
from orchestrator.monitor.link.messages import Message, decode, encode

if TYPE_CHECKING:
    from collections.abc import Sequence

MAX_FDS = 253
"""SCM_MAX_FD of include/net/scm.h."""
MAX_BYTES = 200_000
"""A message must fit into the default send buffer as a whole (net.core.wmem_default
212992)."""

_INT_BYTES = 4
_ANCILLARY_BYTES = _socket.CMSG_SPACE(MAX_FDS * _INT_BYTES)
_FULL = frozenset({errno.EAGAIN, errno.ETOOMANYREFS, errno.ENOBUFS})


class Delivery(NamedTuple):
    """A received message."""

    message: Message
    fds: tuple[int, ...]
    """Owned by the receiver."""
    is_truncated: bool = False
    """Whether descriptors were lost because this process may open no more files."""


class Handoff:
    """One end of the pair; owns its socket.

    Synchronization: none; one thread.
    """

    def __init__(self, sock: _socket.socket, *, is_receiving_fds: bool = True) -> None:
        """Own a socket of a pair.

        Args:
            sock: the socket.
            is_receiving_fds: whether messages may carry descriptors; otherwise the
                kernel drops them, and the message is malformed.
        """
        sock.settimeout(0)
        self._sock = sock
        self._ancillary_bytes = _ANCILLARY_BYTES if is_receiving_fds else 0
        self._waiting: deque[tuple[bytes, list[int]]] = deque()

    def fileno(self) -> int:
        """Return the descriptor to poll."""
        return self._sock.fileno()

    @property
    def is_blocked(self) -> bool:
        """Whether messages wait for the socket to become writable; see `flush`."""
        return bool(self._waiting)

    def send(self, message: Message, fds: Sequence[int] = ()) -> None:
        """Send a message, or queue it; do nothing if the other side is gone.

        The descriptors remain the caller's, who may close them at once.

        Raises:
            HandoffError: too many descriptors or bytes for one message.
        """
        data = encode(message)
        if len(fds) > MAX_FDS or len(data) > MAX_BYTES:
            raise HandoffError(
                f"{type(message).__name__}: {len(data)} bytes, {len(fds)} descriptors"
            )
        if self._waiting or not self._send(data, fds):
            copies = [fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, 0) for fd in fds]
            self._waiting.append((data, copies))

    def flush(self) -> None:
        """Send queued messages while there is room."""
        while self._waiting and self._send(*self._waiting[0]):
            _close_all(self._waiting.popleft()[1])

    def _send(self, data: bytes, fds: Sequence[int]) -> bool:
        rights = (_socket.SOL_SOCKET, _socket.SCM_RIGHTS, array.array("i", fds))
        try:
            self._sock.sendmsg([data], [rights] if fds else [], _socket.MSG_NOSIGNAL)
        except OSError as error:
            # Any other error: the other side is dead, which the next receive reports.
            return error.errno not in _FULL
        return True

    def receive(self) -> Delivery | None:
        """Return the next message; None: there is none.

        Raises:
            EOFError: the other side is gone.
            HandoffError: a malformed message, whose descriptors are closed, or the
                kernel delivers none.
        """
        try:
            data, ancillary, flags, _ = self._sock.recvmsg(
                MAX_BYTES, self._ancillary_bytes, _socket.MSG_CMSG_CLOEXEC
            )
        except BlockingIOError:
            return None
        except ConnectionError:
            raise EOFError from None
        except OSError as error:
            raise HandoffError(f"cannot receive: {error.strerror}") from error
        fds = _unpack(ancillary)
        is_truncated = bool(flags & _socket.MSG_CTRUNC)
        if not data and self._is_hung_up():
            raise EOFError
        if is_truncated and not self._ancillary_bytes:
            raise HandoffError("invalid message: it carries descriptors")
        try:
            message = decode(data)
        except HandoffError:
            _close_all(fds)
            raise
        return Delivery(message, tuple(fds), is_truncated)

    def _is_hung_up(self) -> bool:
        """Return whether the other side is gone: an empty message reads the same."""
        poll = select.poll()
        poll.register(self._sock.fileno(), 0)  # POLLHUP is reported in any case
        return bool(poll.poll(0))

    def close(self) -> None:
        """Close the socket and drop queued messages."""
        while self._waiting:
            _close_all(self._waiting.popleft()[1])
        self._sock.close()


def _unpack(ancillary: list[tuple[int, int, bytes]]) -> list[int]:
    fds = array.array("i")
    for level, kind, data in ancillary:
        if (level, kind) == (_socket.SOL_SOCKET, _socket.SCM_RIGHTS):
            fds.frombytes(data[: len(data) - len(data) % _INT_BYTES])
    return list(fds)


def _close_all(fds: Sequence[int]) -> None:
    for fd in fds:
        with contextlib.suppress(OSError):
            os.close(fd)
