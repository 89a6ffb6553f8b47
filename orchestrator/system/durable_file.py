# SPDX-License-Identifier: Apache-2.0
"""Files that are replaced as a whole: after a crash there is the old or the new one."""

from __future__ import annotations

import os
from contextlib import suppress
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

_FLAGS = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | os.O_NOFOLLOW


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


def _sync_directory(directory: Path, sync: Callable[[int], None]) -> None:
    fd = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        sync(fd)
    finally:
        os.close(fd)
