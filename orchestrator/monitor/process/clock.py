"""The clock of one group in the monitor's hands: its descriptors and its stage."""

from __future__ import annotations

import contextlib
import os
from enum import Enum
from typing import TYPE_CHECKING

from orchestrator.power.attribute import (
    have_values,
    restore_attributes,
    write_attribute,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from orchestrator.monitor.arbiter import Group

NOT_GRANTED = 0
"""In place of kHz: nothing was written, or nobody knows what is in force."""


class Stage(Enum):
    """How far a clock group is on its way into our hands, as the monitor knows it.

    A projection of main's `GroupStage`; see `controller.group_lifecycle`.
    """

    UNTAKEN = "untaken"
    """Its governor is the host's. Nobody has voted, or taking it failed."""
    WANTED = "wanted"
    """There is a vote; main was asked to switch the governor. Answers wait."""
    TAKEN = "taken"
    """Its clock is what we write."""
    YIELDED = "yielded"
    """Nobody votes any more; main was told to restore it."""


class Clock:
    """A clock group's descriptors; owns them.

    Synchronization: one thread, the monitor's.
    """

    __slots__ = (
        "_originals",
        "group",
        "index",
        "is_changed",
        "khz",
        "refused_errno",
        "retry_at_ns",
        "stage",
        "write_fd",
    )

    def __init__(self, group: Group, index: int) -> None:
        self.group = group
        self.index = index
        """Where its row begins in the shared table."""
        self.stage = Stage.UNTAKEN
        self.write_fd = -1
        """Of the attribute that takes kHz; -1: not handed over."""
        self._originals: tuple[tuple[int, bytes, bytes], ...] = ()
        """Of each attribute: its descriptor, its value, and what it says while the
        group is ours (empty: that varies)."""
        self.is_changed = False
        """Whether main may have changed the group's settings, so that its death obliges
        us to restore them: from the moment it was asked to take the group."""
        self.khz = NOT_GRANTED
        """The grant: the last value that the kernel accepted."""
        self.refused_errno = 0
        """Why the kernel refused the last write; 0: it did not."""
        self.retry_at_ns = 0
        """Until when not to ask again for a group that could not be taken."""

    @property
    def is_handed_over(self) -> bool:
        """Whether we have its descriptors."""
        return self.write_fd >= 0

    def take_over(
        self, fds: Sequence[int], originals: Sequence[tuple[bytes, bytes]]
    ) -> None:
        """Own new descriptors: the clock's, then one per original in its order."""
        self.close()
        self.write_fd = fds[0]
        pairs = zip(fds[1:], originals, strict=True)
        self._originals = tuple((fd, *original) for fd, original in pairs)

    def write(self, khz: int) -> int:
        """Set the clock.

        Returns:
            0, or the errno with which the kernel refused.
        """
        try:
            write_attribute(self.write_fd, b"%d" % khz)
        except OSError as error:
            return error.errno or -1
        self.khz = khz
        return 0

    def restore(self) -> None:
        """Write the originals back as far as the kernel lets us.

        A group whose governor somebody has changed since stays as it is.
        """
        if have_values((fd, ours) for fd, _, ours in self._originals):
            restore_attributes((fd, value) for fd, value, _ in self._originals)

    def close(self) -> None:
        """Close the descriptors and forget them."""
        fds = {self.write_fd, *(fd for fd, _, _ in self._originals)} - {-1}
        self.write_fd = -1
        self._originals = ()
        self.khz = NOT_GRANTED
        for fd in fds:
            with contextlib.suppress(OSError):
                os.close(fd)
