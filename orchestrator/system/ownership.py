# SPDX-License-Identifier: Apache-2.0
"""Which files and directories the daemon trusts: those that no other user can change.

A directory or file is trusted if it belongs to the process's user or to root, is not a
symbolic link, and only its owner may write it.
"""

from __future__ import annotations

import errno
import os
import stat
from contextlib import suppress
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

_DIRECTORY_FLAGS = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC | os.O_NOFOLLOW
_FILE_FLAGS = os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK


class ForeignFileError(OSError):
    """Another user can change a file or directory; `fix` says what to do about it."""

    def __init__(self, path: Path, problem: str, fix: str) -> None:
        super().__init__(errno.EPERM, f"{path} {problem}", str(path))
        self.fix = fix


def is_own(status: os.stat_result) -> bool:
    """Whether a file belongs to this process's user or to root."""
    return status.st_uid in {0, os.geteuid()}


def create_directory(path: Path, mode: int) -> None:
    """Create a directory and its missing parents with a mode, whatever the umask is.

    A directory that exists stays as it is.

    Raises:
        OSError: it cannot be created.
    """
    if not path.parent.exists():
        create_directory(path.parent, mode)
    with suppress(FileExistsError):
        path.mkdir(mode)
        path.chmod(mode)


def open_directory(path: Path) -> int:
    """Open a directory that no other user can change.

    Raises:
        ForeignFileError: another user can.
        OSError: it cannot be opened.
    """
    return _open(path, _DIRECTORY_FLAGS, None)


def open_file(path: Path, flags: int, directory: int | None = None) -> int:
    """Open a regular file that no other user can change, private if it is created.

    Args:
        path: the file.
        flags: for man 2 open.
        directory: an open descriptor of its directory; None: looked up by the path.

    Raises:
        ForeignFileError: another user can change it, or it is not a regular file.
        OSError: it cannot be opened.
    """
    return _open(path, flags | _FILE_FLAGS, directory)


def _open(path: Path, flags: int, directory: int | None) -> int:
    target = path if directory is None else path.name
    try:
        fd = os.open(target, flags, 0o600, dir_fd=directory)
    except OSError as error:
        # ENOTDIR with O_DIRECTORY; else ELOOP
        if error.errno in {errno.ENOTDIR, errno.ELOOP} and path.is_symlink():
            fix = f"replace {path} by what it points to"
            raise ForeignFileError(path, "is a symbolic link", fix) from error
        raise
    try:
        _check(path, os.fstat(fd), is_directory=bool(flags & os.O_DIRECTORY))
    except ForeignFileError:
        os.close(fd)
        raise
    return fd


def _check(path: Path, status: os.stat_result, *, is_directory: bool) -> None:
    is_kind = stat.S_ISDIR if is_directory else stat.S_ISREG
    if not is_kind(status.st_mode):
        raise ForeignFileError(path, "is not a regular file", f"remove {path}")
    if not is_own(status):
        raise ForeignFileError(
            path,
            f"belongs to user {status.st_uid}",
            f"use a directory of user {os.geteuid()}, or run as user {status.st_uid}",
        )
    if status.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        mode = stat.S_IMODE(status.st_mode)
        is_shared = bool(status.st_mode & stat.S_ISVTX)  # meant for everyone, as /tmp
        raise ForeignFileError(
            path,
            f"can be changed by other users (mode {mode:04o})",
            "use a directory that only its owner can change"
            if is_shared
            else f"chmod go-w {path}, or use another directory",
        )
