# SPDX-License-Identifier: Apache-2.0
"""Connects to the host side of a channel: the socket that QEMU listens on.

Source: man 7 unix (107 usable bytes of a path, SO_PEERCRED of a listener); QEMU's
chardev/char-socket.c (one client at a time).
"""

from __future__ import annotations

import errno
import os
import socket
import struct
from typing import TYPE_CHECKING

from orchestrator.errors import EndpointAbsent, EndpointContended, EndpointRefused
from orchestrator.system.open_files import describe_shortage
from orchestrator.values.domain import MAX_SOCKET_PATH_BYTES

if TYPE_CHECKING:
    from collections.abc import Container

_CREDENTIALS = struct.Struct("3i")
_ABSENT = frozenset({errno.ENOENT, errno.ECONNREFUSED, errno.ENOTDIR})


def connect(path: str, trusted_uids: Container[int]) -> socket.socket:
    """Connect to a channel and return a non-blocking socket, which the caller owns.

    It is connected before the listener accepts; see `acceptance`.

    Args:
        path: of the socket, from the domain's live XML.
        trusted_uids: users that may listen. libvirt listens itself and passes the
            socket to QEMU; so with a system libvirtd these are root and QEMU's user.

    Raises:
        EndpointAbsent: no listener at the path (yet).
        EndpointContended: other programs wait to connect.
        EndpointRefused: an invalid path, an untrusted listener, permission denied, or
            too many open files.
    """
    _check_path(path)
    try:
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
    except OSError as error:
        raise EndpointRefused(describe_shortage()) from error
    try:
        _connect(sock, path)
        _check_listener(sock, path, trusted_uids)
    except BaseException:
        sock.close()
        raise
    return sock


def _check_path(path: str) -> None:
    size = len(os.fsencode(path))
    if size > MAX_SOCKET_PATH_BYTES:
        raise EndpointRefused(
            f"socket path {path} has {size} bytes,"
            f" the limit is {MAX_SOCKET_PATH_BYTES}",
            hint="give the channel a shorter path, or none, and libvirt chooses one",
        )
    if not path.startswith("/") or "\0" in path:
        raise EndpointRefused(f"socket path '{path}' is not absolute")


def _connect(sock: socket.socket, path: str) -> None:
    try:
        sock.connect(path)
    except BlockingIOError:
        # For a UNIX socket EAGAIN means that the backlog is full.
        raise EndpointContended(
            f"other programs are waiting to connect to {path}",
            hint="end the program that is connected",
        ) from None
    except OSError as error:
        raise _translate(error, path) from error


def _translate(error: OSError, path: str) -> EndpointAbsent | EndpointRefused:
    if error.errno in _ABSENT:
        return EndpointAbsent(f"no listener at {path}")
    word = errno.errorcode.get(error.errno or 0, str(error.errno))
    hint = ""
    if error.errno in (errno.EACCES, errno.EPERM):
        hint = "run the daemon as root, or as the user that QEMU runs as"
    return EndpointRefused(f"cannot connect to {path}: {word}", hint=hint)


def _check_listener(
    sock: socket.socket, path: str, trusted_uids: Container[int]
) -> None:
    # For a client, SO_PEERCRED has the credentials at the time of listen().
    raw = sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
    _pid, uid, _gid = _CREDENTIALS.unpack(raw)
    if uid not in trusted_uids:
        raise EndpointRefused(
            f"user {uid} listens at {path}, but is not trusted",
            hint=f"if QEMU runs as user {uid}, add it to channels.trusted_uids",
        )
