# SPDX-License-Identifier: Apache-2.0
"""A lock file, whose lock is released when its holder closes it or dies.

flock requires only the right to open a file. Any local user could lock a file or
directory that everyone may read, and so keep a daemon from starting. Therefore the
locked file can be opened by its owner only.

Source: man 2 flock.
"""

from __future__ import annotations

import fcntl
import os
from typing import TYPE_CHECKING

from orchestrator.system.ownership import open_file

if TYPE_CHECKING:
    from pathlib import Path


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
