# SPDX-License-Identifier: Apache-2.0
"""Reads and writes attributes of /sys through descriptors that stay open.

Imported by the monitor: it must not import anything heavier than `os`.

A sysfs attribute takes each write as one whole value. A plain file, as in a simulated
tree, would keep the rest of a longer older value; so a value ends in a newline, is
written by one `pwrite` at 0, and readers read the first line.

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
    """Write a value, which has no newline, to an attribute.

    Raises:
        OSError: the kernel refused it, or accepted only a part (EIO).
    """
    data = value + b"\n"
    if os.pwrite(fd, data, 0) != len(data):
        raise OSError(errno.EIO, os.strerror(errno.EIO))


def have_values(pairs: Iterable[tuple[int, bytes]]) -> bool:
    """Whether attributes have the given values, as far as they can be read.

    Args:
        pairs: the descriptor of each attribute and its expected first line; empty: any.
    """
    return all(_has_value(fd, value) for fd, value in pairs if value)


def _has_value(fd: int, value: bytes) -> bool:
    try:
        return os.pread(fd, _LINE_BYTES, 0).partition(b"\n")[0] == value
    except OSError:  # its CPUs are offline: a write will fail, too
        return True


def restore_attribute(fd: int, value: bytes) -> None:
    """Write a value exactly as it was read; a plain file becomes identical.

    Raises:
        OSError: the kernel refused it, or accepted only a part (EIO).
    """
    if os.pwrite(fd, value, 0) != len(value):
        raise OSError(errno.EIO, os.strerror(errno.EIO))
    with contextlib.suppress(OSError):  # only plain files have a length
        os.ftruncate(fd, len(value))


def restore_attributes(
    pairs: Iterable[tuple[int, bytes]],
) -> list[tuple[int, OSError]]:
    """Write original values in the given order.

    Refused writes are retried once at the end: scaling_setspeed is refused while
    another program's governor is active, and accepted after the original one was
    restored.

    Returns:
        The descriptors whose writes were refused, with the errors; empty: all restored.
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
