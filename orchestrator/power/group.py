# SPDX-License-Identifier: Apache-2.0
"""A clock group, and its original settings and descriptors once it is prepared."""

from __future__ import annotations

import errno
import os
from dataclasses import dataclass
from typing import TYPE_CHECKING

from orchestrator.errors import SysfsError
from orchestrator.power.attribute import have_values, restore_attributes
from orchestrator.power.kernel_limits import ATTRIBUTES
from orchestrator.power.sysfs import MAX_VALUE_BYTES, first_line, policy_path

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from orchestrator.power.sysfs import CpuTree
    from orchestrator.power.writer import FrequencyWriter
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
    """The kernel's scaling driver."""
    mechanism: str
    """How its frequency is set; see `power.mechanisms`."""
    identity: int
    """Identifies the policy: the kernel creates another one when it replaces the
    scaling driver or its mode, and descriptors of this one are useless then."""
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

    def is_changed_by_taking(self) -> bool:
        """Whether the value shows that the group is taken."""
        taken = first_line(self.taken_value)
        return bool(taken) and taken != first_line(self.value)


def limits_among(originals: Iterable[Original]) -> tuple[Original, ...]:
    """Return the originals that are limits, which act under every governor."""
    return tuple(it for it in originals if it.path.endswith(ATTRIBUTES))


@dataclass(slots=True, kw_only=True)
class PreparedGroup:
    """A clock group that can be taken at once; owns its descriptors until `close`.

    Synchronization: none; its owner calls from one thread at a time.
    """

    group: ClockGroup
    originals: tuple[Original, ...]
    """In the order of restoring."""
    writer: FrequencyWriter
    original_fds: tuple[int, ...]
    """One per original, in the same order; readable and writable."""
    root: str = "/sys"
    """Root that the paths are relative to; for messages."""
    is_closed: bool = False

    def full_path(self, relative: str) -> str:
        """Return the absolute form of a path."""
        return f"{self.root}/{relative}"

    def fd_of(self, path: str) -> int:
        """Return the descriptor of one of the originals, by its path."""
        paths = [original.path for original in self.originals]
        return self.original_fds[paths.index(path)]

    def read(self, tree: CpuTree, name: str) -> str:
        """Read the current value of one of the originals, by its name.

        Raises:
            SysfsError: the kernel refused.
        """
        path = self.group.path(name)
        return first_line(tree.read_fd(self.fd_of(path), path))

    def is_still_taken(self) -> bool:
        """Whether it is still as it was taken, as far as that can be read."""
        values = (original.taken_value for original in self.originals)
        return have_values(zip(self.original_fds, values, strict=True))

    def is_replaced(self) -> bool:
        """Whether the kernel has replaced the scaling driver, or its mode.

        The descriptors are useless then, also if the driver returns.
        """
        # The kernel answers this from memory. To read a preference, it would interrupt
        # the CPU.
        try:
            os.pread(self.writer.fds[0], 1, 0)
        except OSError as error:
            return error.errno == errno.ENODEV
        return False

    def restore(self) -> None:
        """Restore the originals, as far as possible; idempotent.

        Raises:
            SysfsError: the kernel refused one; the others are restored.
        """
        self._restore(self.originals)

    def restore_limits(self) -> None:
        """Restore the limits alone, if they are still pinned to one frequency.

        For a group whose governor another program has changed: limits act under every
        governor.

        Raises:
            SysfsError: the kernel refused one; the other is restored.
        """
        limits = limits_among(self.originals)
        if self._is_pinned(limits):
            self._restore(limits)

    def _is_pinned(self, limits: Iterable[Original]) -> bool:
        fds = [self.fd_of(original.path) for original in limits]
        try:
            return len({os.pread(fd, MAX_VALUE_BYTES, 0) for fd in fds}) == 1
        except OSError:  # its CPUs are offline: the write will be refused, too
            return True

    def _restore(self, originals: Sequence[Original]) -> None:
        paths = {self.fd_of(original.path): original.path for original in originals}
        values = (original.value for original in originals)
        for fd, error in restore_attributes(zip(paths, values, strict=True)):
            path = self.full_path(paths[fd])
            raise SysfsError(path, error.errno or errno.EIO, "restore") from error

    def close(self) -> None:
        """Close the descriptors; the kernel's settings stay as they are."""
        if self.is_closed:
            return
        self.is_closed = True
        for fd in {*self.writer.fds, *self.original_fds}:
            os.close(fd)
