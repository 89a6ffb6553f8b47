"""A clock group: what it is, and its originals and descriptors once it is prepared."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING

from orchestrator.power.attribute import are_ours
from orchestrator.power.sysfs import policy_path

if TYPE_CHECKING:
    from orchestrator.values.domain import PCpu
    from orchestrator.values.frequencies import FrequencyTable


@dataclass(frozen=True, slots=True, kw_only=True)
class ClockGroup:
    """CPUs that share one clock, as they were when the topology was read."""

    number: int
    """N of the kernel's policyN."""
    pcpus: frozenset[PCpu]
    """Those of its CPUs that are online."""
    driver: str
    governor: str
    """In force at the time of reading."""
    min_khz: int
    """What the kernel allows at least (scaling_min_freq)."""
    max_khz: int
    """What the kernel allows at most (scaling_max_freq): the administrator's bound or
    the firmware's; the kernel silently clamps a clock above it."""
    steps: FrequencyTable
    """What the hardware offers, bounds aside."""
    is_simulated: bool

    def path(self, name: str) -> str:
        """Return the path of one of its attributes, relative to the tree's root."""
        return policy_path(self.number, name)


@dataclass(frozen=True, slots=True, kw_only=True)
class Original:
    """The value that an attribute had before we touched it."""

    path: str
    """Relative to the root of the CPU tree."""
    value: bytes
    """Every byte that a read gave, its newline included."""
    ours: bytes = b""
    """What the attribute says while the group is ours; empty: that varies."""


@dataclass(slots=True, kw_only=True)
class PreparedGroup:
    """A clock group that can be taken at once; owns its descriptors until `close`.

    Synchronization: none; the owner calls from one thread at a time.
    """

    group: ClockGroup
    originals: tuple[Original, ...]
    """In the order in which they are written back: the governor is the last one."""
    clock_fd: int
    """Writable; takes the clock in kHz as decimal digits."""
    original_fds: tuple[int, ...]
    """One per original, in the same order, readable and writable."""
    root: str = "/sys"
    """Root of the tree that the paths are relative to; for messages."""
    is_closed: bool = False

    def full_path(self, relative: str) -> str:
        """Return a path as an operator would type it."""
        return f"{self.root}/{relative}"

    def is_ours(self) -> bool:
        """Say whether it still is as we make it; also where that cannot be seen."""
        ours = (original.ours for original in self.originals)
        return are_ours(zip(self.original_fds, ours, strict=True))

    def close(self) -> None:
        """Close the descriptors; what the kernel has been told stays."""
        if self.is_closed:
            return
        self.is_closed = True
        for fd in {self.clock_fd, *self.original_fds}:
            os.close(fd)
