# SPDX-License-Identifier: Apache-2.0
"""Files of the run directory: private, and whole after a crash."""

from __future__ import annotations

import errno
import os
import stat
from contextlib import suppress
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

_FLAGS = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | os.O_NOFOLLOW
_READ_FLAGS = os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK


def replace_durably(
    path: Path, data: bytes, *, sync: Callable[[int], None] = os.fsync
) -> None:
    """Replace a file that only its owner may read, and return when it is on disk.

    Args:
        path: the file; it need not exist.
        data: its new contents.
        sync: writes an open file or directory to disk.

    Raises:
        OSError: it could not be replaced; the old file is still there.
    """
    fresh = path.with_name(f"{path.name}.new")
    try:
        with open(os.open(fresh, _FLAGS, 0o600), "wb") as file:  # noqa: PTH123 - a descriptor
            file.write(data)
            file.flush()
            sync(file.fileno())
        fresh.replace(path)
        _sync_directory(path.parent, sync)
    except OSError:
        # On a full disk, the partial file would take the space of the next attempt.
        with suppress(OSError):
            fresh.unlink(missing_ok=True)
        raise


def read_own(path: Path, max_bytes: int) -> bytes:
    """Read a file that belongs to this process's user.

    Raises:
        FileNotFoundError: there is none.
        OSError: it cannot be read, is not a file of this user's, or too large.
    """
    with open(os.open(path, _READ_FLAGS), "rb") as file:  # noqa: PTH123 - a descriptor
        found = os.fstat(file.fileno())
        if not stat.S_ISREG(found.st_mode) or found.st_uid != os.geteuid():
            raise PermissionError(errno.EPERM, "not a file of the daemon's user")
        if found.st_size > max_bytes:
            raise OSError(errno.EFBIG, f"larger than {max_bytes} bytes")
        return file.read(max_bytes)


def _sync_directory(directory: Path, sync: Callable[[int], None]) -> None:
    fd = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        sync(fd)
    finally:
        os.close(fd)
