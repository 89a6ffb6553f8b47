# SPDX-License-Identifier: Apache-2.0
"""CPU trees whose kernel refuses, and programs that die while they write."""

from __future__ import annotations

import errno
import itertools
from typing import TYPE_CHECKING

from orchestrator.errors import SysfsError
from orchestrator.power.sysfs import CpuTree

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


class Death(BaseException):
    """The process dies here: nothing that follows is done, and nothing is caught."""


def dying_sync(last: int) -> Callable[[int], None]:
    """Return a replacement of fsync that dies when it is called for the given time."""
    left = itertools.count(last, -1)

    def sync(_fd: int) -> None:
        if not next(left):
            raise Death

    return sync


class DyingTree(CpuTree):
    """Dies instead of the write of a given number."""

    def __init__(self, root: Path, *, last: int) -> None:
        super().__init__(root)
        self._left = last

    def open(self, relative: str, *, writable: bool) -> int:
        if writable:
            if not self._left:
                raise Death
            self._left -= 1
        return super().open(relative, writable=writable)


class RefusingTree(CpuTree):
    """Answers an error for chosen files, as the kernel does.

    `written` has what was opened for writing, in order.
    """

    def __init__(self, root: Path) -> None:
        super().__init__(root)
        self.unreadable: dict[str, int] = {}
        """The errno of each file, by its path; none of it can be read either."""
        self.unwritable: dict[str, int] = {}
        """The same for those that can only be read."""
        self.written: list[str] = []

    def open(self, relative: str, *, writable: bool) -> int:
        refused = self.unreadable.get(relative)
        if writable:
            refused = refused or self.unwritable.get(relative)
        if refused:
            raise SysfsError(str(self.root / relative), refused, "open")
        if writable:
            self.written.append(relative)
        return super().open(relative, writable=writable)


BUSY, INVALID, DENIED = errno.EBUSY, errno.EINVAL, errno.EPERM
