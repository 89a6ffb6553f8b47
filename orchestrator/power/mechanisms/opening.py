# SPDX-License-Identifier: Apache-2.0
"""What the mechanisms have in common: open a group's files, write to them."""

from __future__ import annotations

import errno
import os
from typing import TYPE_CHECKING

from orchestrator.errors import SysfsError
from orchestrator.power.attribute import restore_attribute, write_attribute
from orchestrator.power.group import Original

if TYPE_CHECKING:
    import contextlib

    from orchestrator.power.group import ClockGroup, PreparedGroup
    from orchestrator.power.sysfs import CpuTree

GOVERNOR = "scaling_governor"


def open_attribute(
    tree: CpuTree, group: ClockGroup, name: str, opened: contextlib.ExitStack
) -> int:
    """Open an attribute for reading and writing; `opened` owns the descriptor.

    Raises:
        SysfsError: it cannot be opened.
    """
    fd = tree.open(group.path(name), writable=True)
    opened.callback(os.close, fd)
    return fd


def read_original(
    tree: CpuTree, group: ClockGroup, name: str, fd: int, taken_value: bytes = b""
) -> Original:
    """Read what is to be restored later.

    Raises:
        SysfsError: it cannot be read.
    """
    path = group.path(name)
    value = tree.read_fd(fd, path)
    return Original(path=path, value=value, taken_value=taken_value)


def probe(tree: CpuTree, fd: int, original: Original) -> None:
    """Write the value that was read.

    The kernel may permit opening a file and refuse writing it, as for cpuidle. It is
    better to find out now than at the guest's first request.

    Raises:
        SysfsError: the kernel refused.
    """
    tree.write_fd(fd, original.path, original.value, restore_attribute)


def switch_governor(prepared: PreparedGroup, governor: str, hint: str) -> None:
    """Switch to the governor with which a group is taken.

    Args:
        prepared: the group.
        governor: its name.
        hint: the fix if the kernel has no such governor.

    Raises:
        SysfsError: the kernel refused; EINVAL: no such governor.
    """
    path = prepared.group.path(GOVERNOR)
    fd = prepared.fd_of(path)
    try:
        write_attribute(fd, governor.encode())
    except OSError as error:
        number = error.errno or errno.EIO
        refusal = SysfsError(prepared.full_path(path), number, "write")
        if number == errno.EINVAL:
            refusal.hint = hint
        raise refusal from error
