# SPDX-License-Identifier: Apache-2.0
"""Writers: set the frequency of a clock group through descriptors that stay open.

Main opens the descriptors, and the monitor receives them with the name of the writer.

Imported by the monitor: it must not import anything heavier than `os`.

Source: drivers/cpufreq/cpufreq.c of the kernel (store_scaling_setspeed, store_one).
"""

from __future__ import annotations

import errno
from os import pwrite, strerror
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence


class SetspeedWriter:
    """Writes the frequency to `scaling_setspeed`; the kernel has applied it then.

    Synchronization: none required.
    """

    __slots__ = ("_fd", "fds")

    ATTRIBUTES = ("scaling_setspeed",)
    """What `fds` are descriptors of, in this order."""

    def __init__(self, fds: Sequence[int]) -> None:
        (self._fd,) = self.fds = tuple(fds)

    def write(self, data: bytes) -> None:
        """Set the frequency.

        Args:
            data: kHz as decimal digits, and a newline.

        Raises:
            OSError: the kernel refused it.
        """
        if pwrite(self._fd, data, 0) != len(data):
            raise OSError(errno.EIO, strerror(errno.EIO))


class LimitsWriter:
    """Writes the frequency to both limits of the cpufreq policy, a step at a time.

    The limit in the direction of the change is written first, so that the minimum is
    never above the maximum. The kernel applies limits from a work queue, mostly within
    a millisecond.

    Synchronization: one thread.
    """

    __slots__ = ("_khz", "_max_fd", "_min_fd", "fds")

    ATTRIBUTES = ("scaling_max_freq", "scaling_min_freq")
    """What `fds` are descriptors of, in this order."""

    def __init__(self, fds: Sequence[int]) -> None:
        self._max_fd, self._min_fd = self.fds = tuple(fds)
        self._khz = 0
        """What both limits were set to; 0: unknown."""

    def write(self, data: bytes) -> None:
        """Set the frequency.

        Args:
            data: kHz as decimal digits, and a newline.

        Raises:
            OSError: the kernel refused it; one of the limits may have been set.
        """
        khz = int(data)
        fds = (self._max_fd, self._min_fd)
        if khz < self._khz:
            fds = (self._min_fd, self._max_fd)
        self._khz = 0
        for fd in fds:
            if pwrite(fd, data, 0) != len(data):
                raise OSError(errno.EIO, strerror(errno.EIO))
        self._khz = khz


FrequencyWriter = SetspeedWriter | LimitsWriter

WRITERS: dict[str, type[FrequencyWriter]] = {
    "setspeed": SetspeedWriter,
    "limits": LimitsWriter,
}
"""By name of the mechanism; see `power.mechanisms`."""
UNUSABLE = SetspeedWriter((-1,))
"""Refuses every frequency (EBADF)."""
