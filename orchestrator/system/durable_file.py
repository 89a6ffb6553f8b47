# SPDX-License-Identifier: Apache-2.0
"""Files of the run directory: private, of this user, and whole after a crash."""

from __future__ import annotations

import errno
import os
from contextlib import suppress
from typing import TYPE_CHECKING, NamedTuple

from orchestrator.system.ownership import open_directory, open_file

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

_PRIVATE = 0o600
_CREATE = os.O_WRONLY | os.O_CREAT | os.O_EXCL


class FileVersion(NamedTuple):
    """Identifies a file and its contents, as long as nothing is written into it."""

    device: int
    inode: int
    size: int
    mtime_ns: int

    @classmethod
    def of(cls, status: os.stat_result) -> FileVersion:
        """Return the version of a file with this status."""
        return cls(status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns)


def read_version(path: Path) -> FileVersion | None:
    """Return the version of a file; None: there is none, or it is not accessible."""
    try:
        return FileVersion.of(path.lstat())
    except OSError:
        return None


def replace_durably(
    path: Path,
    data: bytes,
    *,
    mode: int = _PRIVATE,
    sync: Callable[[int], None] = os.fsync,
) -> FileVersion:
    """Replace a file, and return when it is on disk.

    Args:
        path: the file; it need not exist.
        data: its new contents.
        mode: who may read it; by default, only its owner.
        sync: writes an open file or directory to disk.

    Returns:
        The version that is on disk now.

    Raises:
        ForeignFileError: another user can change its directory.
        OSError: it could not be replaced; the old file is still there.
    """
    directory = open_directory(path.parent)
    try:
        return _replace(path, data, directory, mode, sync)
    finally:
        os.close(directory)


def discard_partial(path: Path) -> None:
    """Remove what a crash during `replace_durably` has left.

    Raises:
        OSError: it cannot be removed.
    """
    _fresh(path).unlink(missing_ok=True)


def read_own(path: Path, max_bytes: int | None = None) -> bytes:
    """Read a file that no other user can change, in a directory for which this is true.

    Raises:
        FileNotFoundError: there is none.
        ForeignFileError: another user can change it.
        OSError: it cannot be read, or is too large.
    """
    directory = open_directory(path.parent)
    try:
        fd = open_file(path, os.O_RDONLY, directory)
    finally:
        os.close(directory)
    with open(fd, "rb") as file:  # noqa: PTH123 - a descriptor
        if max_bytes is not None and os.fstat(fd).st_size > max_bytes:
            raise OSError(errno.EFBIG, f"larger than {max_bytes} bytes")
        return file.read()


def _fresh(path: Path) -> Path:
    return path.with_name(f"{path.name}.new")


def _replace(
    path: Path, data: bytes, directory: int, mode: int, sync: Callable[[int], None]
) -> FileVersion:
    fresh = _fresh(path)
    with suppress(FileNotFoundError):
        os.unlink(fresh.name, dir_fd=directory)
    try:
        fd = open_file(fresh, _CREATE, directory)
        with open(fd, "wb") as file:  # noqa: PTH123 - a descriptor
            file.write(data)
            file.flush()
            if mode != _PRIVATE:
                os.fchmod(fd, mode)
            sync(fd)
            version = FileVersion.of(os.fstat(fd))
        os.replace(fresh.name, path.name, src_dir_fd=directory, dst_dir_fd=directory)
        sync(directory)
    except OSError:
        # On a full disk, the partial file would take the space of the next attempt.
        with suppress(OSError):
            os.unlink(fresh.name, dir_fd=directory)
        raise
    return version
