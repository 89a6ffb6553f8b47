"""Writing one attribute of /sys through a descriptor that is kept open.

Imported by the monitor: nothing but ``os`` may come in here.

A sysfs attribute takes each write as one whole value. A plain file, which stands for
it in an imitated tree, would keep the tail of a longer older value; so a value ends
in a newline, goes out in one ``pwrite`` at 0, and readers read the first line.

Source: Documentation/filesystems/sysfs.rst of the kernel, "Reading/Writing Attribute
Data".
"""

from __future__ import annotations

import contextlib
import errno
import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable


_LINE_BYTES = 256


def write_attribute(fd: int, value: bytes) -> None:
    """Store `value`, which has no newline, in the attribute behind `fd`.

    Raises:
        OSError: the kernel refused it, or took only a part of it (EIO).
    """
    data = value + b"\n"
    if os.pwrite(fd, data, 0) != len(data):
        raise OSError(errno.EIO, os.strerror(errno.EIO))


def are_ours(pairs: Iterable[tuple[int, bytes]]) -> bool:
    """Say whether attributes still say what they do while their group is ours.

    Args:
        pairs: each one's descriptor, and what its first line is then; empty: that
            varies, as it does where the line cannot be read.
    """
    return all(_still_says(fd, ours) for fd, ours in pairs if ours)


def _still_says(fd: int, value: bytes) -> bool:
    try:
        return os.pread(fd, _LINE_BYTES, 0).partition(b"\n")[0] == value
    except OSError:  # its CPUs are offline: the write will say so
        return True


def restore_attribute(fd: int, value: bytes) -> None:
    """Store `value` exactly as it was once read; a plain file is equal to the byte.

    Raises:
        OSError: the kernel refused it, or took only a part of it (EIO).
    """
    if os.pwrite(fd, value, 0) != len(value):
        raise OSError(errno.EIO, os.strerror(errno.EIO))
    with contextlib.suppress(OSError):  # only plain files have a length
        os.ftruncate(fd, len(value))


def restore_attributes(
    pairs: Iterable[tuple[int, bytes]],
) -> list[tuple[int, OSError]]:
    """Store many original values in the given order, the governor last.

    What was refused is tried once more at the end: scaling_setspeed is refused while
    another program's governor is in force, and accepted after ours has been put back.

    Returns:
        The descriptors that refused, each with the kernel's answer; empty: all is back.
    """
    refused = [pair for pair in pairs if _try_to_restore(*pair) is not None]
    answers = [(fd, _try_to_restore(fd, value)) for fd, value in refused]
    return [(fd, error) for fd, error in answers if error is not None]


def _try_to_restore(fd: int, value: bytes) -> OSError | None:
    try:
        restore_attribute(fd, value)
    except OSError as error:
        return error
    return None
