# SPDX-License-Identifier: Apache-2.0
"""A clock group, and its original settings and descriptors once it is prepared."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING

from orchestrator.power.attribute import have_values
from orchestrator.power.sysfs import policy_path

if TYPE_CHECKING:
    from orchestrator.values.domain import PCpu
    from orchestrator.values.frequencies import FrequencyTable


@dataclass(frozen=True, slots=True, kw_only=True)
class ClockGroup:
    """CPUs that share one frequency, as of the reading of the topology."""

    number: int
    """N of the kernel's policyN."""
    pcpus: frozenset[PCpu]
    """Its online CPUs."""
    driver: str
    governor: str
    """Active at the time of reading."""
    min_khz: int
    """The kernel's lower bound (scaling_min_freq)."""
    max_khz: int
    """The kernel's upper bound (scaling_max_freq), set by the administrator or the
    firmware; the kernel silently clamps a higher frequency."""
    steps: FrequencyTable
    """The frequencies that the hardware offers, regardless of bounds."""
    is_simulated: bool

    def path(self, name: str) -> str:
        """Return the path of an attribute, relative to the tree's root."""
        return policy_path(self.number, name)


@dataclass(frozen=True, slots=True, kw_only=True)
class Original:
    """The value of an attribute before vmpowerd changed it."""

    path: str
    """Relative to the root of the CPU tree."""
    value: bytes
    """All bytes that were read, including the newline."""
    taken_value: bytes = b""
    """The attribute's value while the group is taken; empty: it varies."""


@dataclass(slots=True, kw_only=True)
class PreparedGroup:
    """A clock group that can be taken at once; owns its descriptors until `close`.

    Synchronization: none; its owner calls from one thread at a time.
    """

    group: ClockGroup
    originals: tuple[Original, ...]
    """In the order of restoring: the governor is the last one."""
    clock_fd: int
    """Writable; accepts the frequency in kHz as decimal digits."""
    original_fds: tuple[int, ...]
    """One per original, in the same order; readable and writable."""
    root: str = "/sys"
    """Root that the paths are relative to; for messages."""
    is_closed: bool = False

    def full_path(self, relative: str) -> str:
        """Return the absolute form of a path."""
        return f"{self.root}/{relative}"

    def is_still_taken(self) -> bool:
        """Whether it is still as it was taken, as far as that can be read."""
        values = (original.taken_value for original in self.originals)
        return have_values(zip(self.original_fds, values, strict=True))

    def close(self) -> None:
        """Close the descriptors; the kernel's settings stay as they are."""
        if self.is_closed:
            return
        self.is_closed = True
        for fd in {self.clock_fd, *self.original_fds}:
            os.close(fd)
