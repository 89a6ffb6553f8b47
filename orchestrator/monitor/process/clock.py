# SPDX-License-Identifier: Apache-2.0
"""A clock group's descriptors and stage."""

from __future__ import annotations

import contextlib
import os
from enum import Enum
from typing import TYPE_CHECKING, NamedTuple

from orchestrator.monitor.link.table import GRANTED_NS
from orchestrator.power.attribute import have_values, restore_attributes
from orchestrator.power.writer import UNUSABLE, WRITERS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from orchestrator.monitor.arbiter import Group
    from orchestrator.power.writer import FrequencyWriter

NOT_GRANTED = 0
"""In place of kHz: nothing was written, or the frequency is not known."""


class Stage(Enum):
    """How far a clock group has been taken, as the monitor knows it.

    A projection of main's `GroupStage`; see `controller.group_lifecycle`.
    """

    UNTAKEN = "untaken"
    """The host's governor is set: there is no vote, or taking the group failed."""
    WANTED = "wanted"
    """There is a vote, and main has been asked to switch the governor. Answers wait."""
    TAKEN = "taken"
    """The monitor sets its frequency."""
    YIELDED = "yielded"
    """There are no votes any more, and main has been asked to restore it."""


class Clock:
    """A clock group's descriptors; owns them.

    Synchronization: one thread, the monitor's.
    """

    __slots__ = (
        "_originals",
        "granted_at",
        "group",
        "index",
        "is_changed",
        "khz",
        "refused_errno",
        "retry_at_ns",
        "since_ns",
        "stage",
        "writer",
        "writes",
    )

    def __init__(self, group: Group, index: int) -> None:
        self.group = group
        self.index = index
        """Where its row begins in the shared table."""
        self.stage = Stage.UNTAKEN
        self.writer: FrequencyWriter = UNUSABLE
        """Sets the frequency; owns its descriptors through this object."""
        self._originals: tuple[tuple[int, bytes, bytes], ...] = ()
        """For each attribute: its descriptor, its original value, and its value while
        the group is taken (empty: it varies)."""
        self.is_changed = False
        """Whether main may have changed the group's settings, so that they must be
        restored if main dies: from the moment that main is asked to take the group."""
        self.khz = NOT_GRANTED
        """The grant: the last frequency that the kernel accepted."""
        self.writes = 0
        """Frequencies that the kernel accepted, also from earlier monitors."""
        self.granted_at = index + GRANTED_NS
        """The word of the shared table that counts the time of the present grant."""
        self.since_ns = 0
        """Until when (monotonic) the time is counted there."""
        self.refused_errno = 0
        """Why the kernel refused the last write; 0: it did not."""
        self.retry_at_ns = 0
        """When main may be asked again for a group that could not be taken
        (monotonic)."""

    @property
    def is_handed_over(self) -> bool:
        """Whether the descriptors have been received."""
        return self.writer is not UNUSABLE

    def take_over(
        self, writer: str, fds: Sequence[int], originals: Sequence[tuple[bytes, bytes]]
    ) -> bool:
        """Own new descriptors: the writer's, then one per original in its order.

        Returns:
            False: there are fewer or more, and none of them is owned.
        """
        kind = WRITERS[writer]
        count = len(kind.ATTRIBUTES)
        if len(fds) != count + len(originals):
            return False
        self.close()
        self.writer = kind(fds[:count])
        pairs = zip(fds[count:], originals, strict=True)
        self._originals = tuple((fd, *original) for fd, original in pairs)
        return True

    def write(self, khz: int) -> int:
        """Set the frequency.

        Returns:
            0, or the errno with which the kernel refused.
        """
        try:
            self.writer.write(b"%d\n" % khz)
        except OSError as error:
            return error.errno or -1
        self.khz = khz
        return 0

    def restore(self) -> None:
        """Write the originals back, as far as the kernel permits.

        A group whose governor another program has changed since is left unchanged.
        """
        if have_values((fd, taken) for fd, _, taken in self._originals):
            restore_attributes((fd, value) for fd, value, _ in self._originals)

    def close(self) -> None:
        """Close the descriptors and forget them."""
        fds = {*self.writer.fds, *(fd for fd, _, _ in self._originals)} - {-1}
        self.writer = UNUSABLE
        self._originals = ()
        self.khz = NOT_GRANTED
        for fd in fds:
            with contextlib.suppress(OSError):
                os.close(fd)


class CoreClocks(NamedTuple):
    """The clocks of the threads of one core, for a vCPU that is pinned to all of them.

    The answer to its request depends on all of them, as if they were one.
    """

    clocks: tuple[Clock, ...]

    @property
    def stage(self) -> Stage:
        """TAKEN if all are; WANTED as long as one may still be taken."""
        stages = {clock.stage for clock in self.clocks}
        if stages == {Stage.TAKEN}:
            return Stage.TAKEN
        return Stage.WANTED if Stage.WANTED in stages else Stage.UNTAKEN

    @property
    def refused_errno(self) -> int:
        """Why the kernel refused the last write to one of them; 0: it did not."""
        return next((c.refused_errno for c in self.clocks if c.refused_errno), 0)
