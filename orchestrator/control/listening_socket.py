# SPDX-License-Identifier: Apache-2.0
"""The sockets that the daemon listens on: of the API, and of metrics."""

from __future__ import annotations

import contextlib
import errno
import logging
import os
import socket
import stat
from typing import TYPE_CHECKING, Protocol

from orchestrator.errors import ControlError
from orchestrator.system.ownership import ForeignFileError, open_directory
from orchestrator.values.domain import MAX_SOCKET_PATH_BYTES

if TYPE_CHECKING:
    from pathlib import Path

    from orchestrator.values.listen_address import TcpAddress

logger = logging.getLogger(__name__)

_BACKLOG = 64
_KIND = socket.SOCK_STREAM | socket.SOCK_NONBLOCK


class ListeningSocket(Protocol):
    """A socket that can be listened on."""

    @property
    def name(self) -> str:
        """Its path or address, for the log."""
        ...

    def open(self) -> socket.socket:
        """Listen.

        Raises:
            ControlError: the path or address cannot be used.
        """
        ...

    def remove(self) -> None:
        """Remove the name of the socket at the end, if it has one."""
        ...


class UnixSocket:
    """A UNIX socket in a directory that no other user can change.

    Synchronization: one thread.
    """

    def __init__(
        self, path: Path, mode: int, *, group_id: int | None = None, fix: str
    ) -> None:
        """Open nothing yet.

        Args:
            path: where it is to be.
            mode: its permissions.
            group_id: its group; None: the process's.
            fix: what to do about a path that is too long.
        """
        self._path = path
        self._mode = mode
        self._group_id = group_id
        self._fix = fix

    @property
    def name(self) -> str:
        """Its path."""
        return os.fspath(self._path)

    def open(self) -> socket.socket:
        """Listen at the path.

        Raises:
            ControlError: the path is too long, is in use or no socket, or it or its
                directory is not writable.
        """
        path = self._path
        if len(os.fsencode(path)) > MAX_SOCKET_PATH_BYTES:
            raise ControlError(
                f"socket path {path} is longer than {MAX_SOCKET_PATH_BYTES} bytes",
                status=500,
                hint=self._fix,
            )
        sock = socket.socket(socket.AF_UNIX, _KIND)
        try:
            os.close(open_directory(path.parent))
            _remove_stale(path)
            # Private until its group is set. The umask would do, but all threads share
            # it.
            os.fchmod(sock.fileno(), 0o600)
            sock.bind(os.fspath(path))
            if self._group_id is not None:
                _set_group(path, self._group_id)
            path.chmod(self._mode)
            sock.listen(_BACKLOG)
        except OSError as error:
            sock.close()
            raise _failure(self.name, error) from error
        except ControlError:
            sock.close()
            raise
        return sock

    def remove(self) -> None:
        """Remove the path."""
        remove(self._path)


def _set_group(path: Path, group_id: int) -> None:
    # An owner may set a group that it is a member of; CAP_CHOWN allows any. Membership
    # takes CAP_SETGID, which a daemon that changes the monitor's user has anyway.
    groups = os.getgroups()
    if group_id not in groups:
        with contextlib.suppress(PermissionError):
            os.setgroups([*groups, group_id])
    os.chown(path, -1, group_id)


class TcpSocket:
    """A TCP socket at one address of the host.

    Synchronization: one thread.
    """

    def __init__(self, address: TcpAddress) -> None:
        self._address = address

    @property
    def name(self) -> str:
        """Its address and port."""
        return str(self._address)

    def open(self) -> socket.socket:
        """Listen at the address.

        Raises:
            ControlError: it is in use, or not one of the host's.
        """
        address = self._address
        family = socket.AF_INET6 if address.ip.version == 6 else socket.AF_INET
        try:
            sock = socket.socket(family, _KIND)
        except OSError as error:
            raise _failure(self.name, error) from error
        try:
            # After a restart, connections of the last daemon are still in TIME_WAIT.
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            sock.bind((str(address.ip), address.port))
            sock.listen(_BACKLOG)
        except OSError as error:
            sock.close()
            raise _failure(self.name, error) from error
        return sock

    def remove(self) -> None:
        """Do nothing: the port is free once the socket is closed."""


def _failure(name: str, error: OSError) -> ControlError:
    reason = str(error) if isinstance(error, ForeignFileError) else error.strerror
    return ControlError(f"cannot listen at {name}: {reason}", status=500)


def remove(path: Path) -> None:
    """Remove a socket or lock at the end; the next start replaces what stays."""
    try:
        path.unlink(missing_ok=True)
    except OSError as error:
        logger.warning("cannot remove %s: %s", path, error.strerror)


def _remove_stale(path: Path) -> None:
    """Remove the socket of a program that was killed.

    Raises:
        ControlError: it is no socket, or a program listens on it.
    """
    try:
        found = path.lstat()
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(found.st_mode):
        raise ControlError(f"{path} exists and is not a socket", status=500)
    with socket.socket(socket.AF_UNIX, _KIND) as probe:
        if probe.connect_ex(os.fspath(path)) != errno.ECONNREFUSED:
            raise ControlError(f"another program listens at {path}", status=500)
    path.unlink()
