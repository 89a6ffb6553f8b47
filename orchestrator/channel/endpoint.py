# SPDX-License-Identifier: Apache-2.0
"""Connects to the host side of a channel: the socket that QEMU listens on.

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

from orchestrator.channel.acceptance import is_accepted, is_accepted_by
from orchestrator.errors import EndpointAbsent, EndpointContended, EndpointRefused
from orchestrator.system.open_files import describe_shortage
from orchestrator.values.domain import MAX_SOCKET_PATH_BYTES

if TYPE_CHECKING:
    from collections.abc import Container

ACCEPT_TIMEOUT_S = 0.25
"""Time for QEMU to accept. Its main loop does so within a millisecond; a guest that
boots under emulation can occupy that loop for a few tens of milliseconds."""

_FIRST_POLL_MS = 1
_POLL_FACTOR = 3
"""The kernel searches all sockets of the host for the answer: 0.1 ms among 12,000."""
_CREDENTIALS = struct.Struct("3i")
_ABSENT = frozenset({errno.ENOENT, errno.ECONNREFUSED, errno.ENOTDIR})


def connect(
    path: str,
    trusted_uids: Container[int],
    *,
    qemu_pid: int | None = None,
    accept_timeout_s: float = ACCEPT_TIMEOUT_S,
) -> socket.socket:
    """Connect to a channel and return a non-blocking socket, which the caller owns.

    If the listener does not accept, this blocks for `accept_timeout_s`; so it must not
    run in an event loop.

    Args:
        path: of the socket, from the domain's live XML.
        trusted_uids: users that may listen. libvirt listens itself and passes the
            socket to QEMU; so with a system libvirtd these are root and QEMU's user.
        qemu_pid: the domain's QEMU process, which must accept; None: not known.
        accept_timeout_s: time for the listener to accept.

    Raises:
        EndpointAbsent: no listener at the path (yet).
        EndpointContended: another program is connected, or listens.
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
        _await_acceptance(sock, path, accept_timeout_s)
        if qemu_pid is not None:
            _check_process(sock, path, qemu_pid, accept_timeout_s)
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


def _await_acceptance(sock: socket.socket, path: str, timeout_s: float) -> None:
    # Acceptance causes no event. Data or a hang-up end the wait as well: the next user
    # of the socket handles them.
    waiter = select.poll()
    waiter.register(sock, select.POLLIN)
    deadline = time.monotonic() + timeout_s
    poll_ms = _FIRST_POLL_MS
    while not waiter.poll(poll_ms) and is_accepted(sock) is False:
        if time.monotonic() >= deadline:
            raise EndpointContended(
                f"another program is connected to {path}, or QEMU has not accepted yet",
                hint="end it; it may be DPDK's vm_power_manager",
            )
        poll_ms *= _POLL_FACTOR


def _check_process(
    sock: socket.socket, path: str, qemu_pid: int, timeout_s: float
) -> None:
    deadline = time.monotonic() + timeout_s
    # The kernel shows that a connection is accepted before the process has it.
    while is_accepted_by(sock, qemu_pid) is False:
        if time.monotonic() >= deadline:
            raise EndpointContended(
                f"another process than the domain's QEMU (pid {qemu_pid}) listens at"
                f" {path}",
                hint="give the channel a path of its own, or none, and libvirt chooses"
                " one",
            )
        time.sleep(_FIRST_POLL_MS / 1000)
