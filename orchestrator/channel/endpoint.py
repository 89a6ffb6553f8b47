"""Connecting to the host side of a channel: the socket that QEMU listens on.

Source: man 7 unix (107 usable bytes of a path, SO_PEERCRED of a listener); QEMU's
chardev/char-socket.c (one client at a time).
"""

from __future__ import annotations

import errno
import os
import select
import socket
import struct
import time
from typing import TYPE_CHECKING

from orchestrator.channel.acceptance import is_accepted
from orchestrator.errors import EndpointAbsent, EndpointContended, EndpointRefused
from orchestrator.system.open_files import describe_shortage
from orchestrator.values.domain import MAX_SOCKET_PATH_BYTES

if TYPE_CHECKING:
    from collections.abc import Collection

ACCEPT_PATIENCE_S = 0.25
"""How long QEMU may take to accept. Its main loop does it within a millisecond; a
guest that boots under emulation can hold that loop for some tens."""

_FIRST_LOOK_MS = 1
_CREDENTIALS = struct.Struct("3i")
_ABSENT = frozenset({errno.ENOENT, errno.ECONNREFUSED, errno.ENOTDIR})


def connect(
    path: str,
    trusted_uids: Collection[int],
    *,
    accept_patience_s: float = ACCEPT_PATIENCE_S,
) -> socket.socket:
    """Connect to a channel; the caller owns the non-blocking socket.

    Blocks for `accept_patience_s` at most, and only where nobody accepts: not for an
    event loop.

    Args:
        path: where the domain's live XML says that QEMU listens.
        trusted_uids: users whose listener is believed to be QEMU's. libvirt listens
            itself and passes the socket on, so root must be among them for a system
            libvirtd, and QEMU's own user.
        accept_patience_s: how long the listener may take to accept.

    Raises:
        EndpointAbsent: nobody listens at the path (yet).
        EndpointContended: another program is connected.
        EndpointRefused: the path cannot be used, or somebody untrusted listens there,
            or we may open no more files.
    """
    _check_path(path)
    try:
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
    except OSError as error:
        raise EndpointRefused(describe_shortage()) from error
    try:
        _connect(sock, path)
        _check_listener(sock, path, trusted_uids)
        _await_acceptance(sock, path, accept_patience_s)
    except BaseException:
        sock.close()
        raise
    return sock


def _check_path(path: str) -> None:
    size = len(os.fsencode(path))
    if size > MAX_SOCKET_PATH_BYTES:
        raise EndpointRefused(
            f"{path} has {size} bytes, a socket's path at most {MAX_SOCKET_PATH_BYTES}",
            hint="give the channel a shorter path, or none: libvirt then chooses one",
        )
    if not path.startswith("/") or "\0" in path:
        raise EndpointRefused(f"'{path}' is no absolute path")


def _connect(sock: socket.socket, path: str) -> None:
    try:
        sock.connect(path)
    except BlockingIOError:
        # Not "in progress", which UNIX sockets do not know: the backlog is full.
        raise EndpointContended(
            f"others are waiting for {path}", hint="end the program that holds it"
        ) from None
    except OSError as error:
        raise _translate(error, path) from error


def _translate(error: OSError, path: str) -> EndpointAbsent | EndpointRefused:
    if error.errno in _ABSENT:
        return EndpointAbsent(f"nobody listens at {path}")
    word = errno.errorcode.get(error.errno or 0, str(error.errno))
    hint = ""
    if error.errno in (errno.EACCES, errno.EPERM):
        hint = "run the daemon as root, or as the user that QEMU runs as"
    return EndpointRefused(f"cannot connect to {path}: {word}", hint=hint)


def _check_listener(
    sock: socket.socket, path: str, trusted_uids: Collection[int]
) -> None:
    # Of a connecting socket the kernel gives the credentials at the time of listen().
    raw = sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
    _pid, uid, _gid = _CREDENTIALS.unpack(raw)
    if uid not in trusted_uids:
        raise EndpointRefused(
            f"user {uid} listens at {path}, and is not trusted",
            hint=f"if QEMU runs as user {uid}, add it to channels.trusted_uids",
        )


def _await_acceptance(sock: socket.socket, path: str, patience_s: float) -> None:
    deadline = time.monotonic() + patience_s
    look_ms = _FIRST_LOOK_MS
    while is_accepted(sock) is False:
        if time.monotonic() >= deadline:
            raise EndpointContended(
                f"another program holds {path}",
                hint="end it, such as DPDK's own vm_power_manager",
            )
        # Being accepted wakes nobody. Data, or a hang-up, says enough: whoever uses
        # the socket next will find it.
        waiter = select.poll()
        waiter.register(sock, select.POLLIN)
        if waiter.poll(look_ms):
            return
        look_ms *= 2
