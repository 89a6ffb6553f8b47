# SPDX-License-Identifier: Apache-2.0
"""A lock file, whose lock is released when its holder closes it or dies.

flock requires only the right to open a file. Any local user could lock a file or
directory that everyone may read, and so keep a daemon from starting. Therefore the
locked file can be opened by its owner only.

Beside its owner, a file can have users: processes that hold a record lock on it. The
kernel shows their process IDs, and the two kinds of locks do not affect each other.

Source: man 2 flock, man 2 fcntl (advisory record locking).
"""

from __future__ import annotations

import fcntl
import os
import struct
from typing import TYPE_CHECKING

from orchestrator.system.ownership import open_file

if TYPE_CHECKING:
    from pathlib import Path

_RECORD_LOCK = struct.Struct("hhqqi")
"""struct flock: type, whence, start, length, process ID."""


def lock(fd: int) -> None:
    """Lock an open file until its last descriptor is closed.

    Raises:
        BlockingIOError: another process holds the lock.
    """
    fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)


def open_private(path: Path) -> int:
    """Open a file that only its owner may open; create it if it does not exist.

    Raises:
        ForeignFileError: another user can change it.
        OSError: the file cannot be opened or created.
    """
    return open_file(path, os.O_RDWR | os.O_CREAT)


def lock_private(path: Path) -> int:
    """Lock a private file and return its descriptor.

    The holder of the lock may remove the file.

    Raises:
        BlockingIOError: another process holds the lock.
        ForeignFileError: another user can change the file.
        OSError: the file cannot be opened or created.
    """
    while True:
        fd = open_private(path)
        try:
            lock(fd)
            if _is_linked(fd, path):
                return fd
        except OSError:
            os.close(fd)
            raise
        os.close(fd)  # removed by its last holder after it was opened here


def _is_linked(fd: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(fd), path.lstat())
    except FileNotFoundError:
        return False


def use(fd: int) -> None:
    """Register this process as a user of an open file until it closes it or dies.

    It also ends when the process closes any other descriptor of the same file.

    Raises:
        OSError: the file system has no record locks.
    """
    fcntl.lockf(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)


def find_user(fd: int) -> int | None:
    """Return the process ID of a user of an open file; None: the file has none.

    0: the user is in a PID namespace that this process cannot see.
    """
    asked = _RECORD_LOCK.pack(fcntl.F_WRLCK, os.SEEK_SET, 0, 0, 0)
    try:
        found = fcntl.fcntl(fd, fcntl.F_GETLK, asked)
    except OSError:  # the file system has no record locks
        return None
    kind, *_, pid = _RECORD_LOCK.unpack(found)
    return None if kind == fcntl.F_UNLCK else max(0, pid)
