"""A file of which one process at a time has the lock, which dies with its holder.

A lock needs no more right than to open what is locked: of a file or a directory that
everybody may read, everybody may take it, and keep a daemon from its start. So what is
locked is a file that nobody but its owner may open.

Source: man 2 flock.
"""

from __future__ import annotations

import fcntl
import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

_FLAGS = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW


def lock(fd: int) -> None:
    """Take the lock of an open file; the last descriptor that is closed gives it back.

    Raises:
        BlockingIOError: somebody else holds it.
    """
    fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)


def open_private(path: Path) -> int:
    """Open a file that only we may open, and make it if it is not there.

    Raises:
        OSError: it cannot be opened or made.
    """
    return os.open(path, _FLAGS, 0o600)


def lock_private(path: Path) -> int:
    """Return a descriptor that holds the lock of a file of ours.

    Whoever holds it may remove the file.

    Raises:
        BlockingIOError: somebody else holds it.
        OSError: it cannot be opened or made.
    """
    while True:
        fd = open_private(path)
        try:
            lock(fd)
            if _is_there(fd, path):
                return fd
        except OSError:
            os.close(fd)
            raise
        os.close(fd)  # its last holder removed it between our two steps


def _is_there(fd: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(fd), path.lstat())
    except FileNotFoundError:
        return False
