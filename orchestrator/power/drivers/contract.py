"""What one scaling driver of the kernel needs from us.

Source: Documentation/admin-guide/pm/cpufreq.rst of the kernel (policies, governors).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from orchestrator.power.group import ClockGroup, PreparedGroup
    from orchestrator.power.sysfs import CpuTree
    from orchestrator.values.frequencies import FrequencyTable


class ScalingDriver(Protocol):
    """How to set the clock of a group that a certain scaling driver drives.

    Synchronization: none required; a driver keeps no state of a group. Calls block
    for up to some 25 ms (a governor's end waits for RCU): not for an event loop.
    """

    def read_steps(self, tree: CpuTree, number: int) -> FrequencyTable:
        """Read which frequencies policy `number` offers.

        Raises:
            SysfsError: a file could not be read.
            NoCpufreqError: the kernel offers none that could be set.
        """
        ...

    def prepare(self, tree: CpuTree, group: ClockGroup) -> PreparedGroup:
        """Read the originals, open the descriptors, probe them; change nothing.

        Raises:
            SysfsError: a file could not be read, opened or written.
        """
        ...

    def renew(self, tree: CpuTree, prepared: PreparedGroup) -> PreparedGroup | None:
        """Read the originals of a group anew, which must not be taken.

        Returns:
            The same group, with the same descriptors, and its new originals, in place
            of `prepared`; None: they are what they were.

        Raises:
            SysfsError: a file could not be read.
        """
        ...

    def take(self, prepared: PreparedGroup) -> None:
        """Switch the governor, so that the clock obeys writes; idempotent.

        Raises:
            SysfsError: the kernel refused; nothing changed.
        """
        ...

    def write_clock(self, prepared: PreparedGroup, khz: int) -> None:
        """Set the clock of a taken group to one of its steps.

        Raises:
            SysfsError: the kernel refused; EBUSY: the CPUs are offline.
        """
        ...

    def restore(self, prepared: PreparedGroup) -> None:
        """Write the originals back, all that can be; idempotent.

        Raises:
            SysfsError: the kernel refused one; the others are back.
        """
        ...
