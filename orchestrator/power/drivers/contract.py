# SPDX-License-Identifier: Apache-2.0
"""The contract of a scaling driver.

Source: Documentation/admin-guide/pm/cpufreq.rst of the kernel (policies, governors).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from orchestrator.power.group import ClockGroup, PreparedGroup
    from orchestrator.power.sysfs import CpuTree
    from orchestrator.values.frequencies import FrequencyTable


class ScalingDriver(Protocol):
    """Sets the frequencies of the clock groups of one scaling driver of the kernel.

    Synchronization: none required; a driver keeps no state of a group. Calls block for
    up to some 25 ms, because stopping a governor waits for RCU; so they must not run in
    an event loop.
    """

    def read_steps(self, tree: CpuTree, number: int) -> FrequencyTable:
        """Read the frequencies of policyN.

        Raises:
            SysfsError: a file could not be read.
            NoCpufreqError: no frequency can be set.
        """
        ...

    def prepare(self, tree: CpuTree, group: ClockGroup) -> PreparedGroup:
        """Read the originals, open and probe the descriptors; change nothing.

        Raises:
            SysfsError: a file could not be read, opened or written.
        """
        ...

    def renew(self, tree: CpuTree, prepared: PreparedGroup) -> PreparedGroup | None:
        """Read the originals of a group again; it must not be taken.

        Returns:
            The group with the same descriptors and its new originals, to replace
            `prepared`; None: they did not change.

        Raises:
            SysfsError: a file could not be read.
        """
        ...

    def take(self, prepared: PreparedGroup) -> None:
        """Take the group, so that its frequency can be written; idempotent.

        Raises:
            SysfsError: the kernel refused; nothing changed.
        """
        ...

    def write_clock(self, prepared: PreparedGroup, khz: int) -> None:
        """Set the frequency of a taken group to one of its steps.

        Raises:
            SysfsError: the kernel refused; EBUSY: the CPUs are offline.
        """
        ...

    def find_drift(
        self, tree: CpuTree, prepared: PreparedGroup, grant_khz: int | None
    ) -> str | None:
        """Compare the settings of a taken group with those that were made.

        Two or three small reads, which do not block.

        Args:
            tree: where the group is.
            prepared: the group.
            grant_khz: the last frequency that was set; None: not known.

        Returns:
            What another program changed, for people; None: nothing, or it cannot be
            read because the CPUs are offline. A frequency that the kernel keeps within
            its own limits is no change.
        """
        ...

    def restore(self, prepared: PreparedGroup) -> None:
        """Restore the originals, as far as possible; idempotent.

        Raises:
            SysfsError: the kernel refused one; the others are restored.
        """
        ...


class DriverClass(Protocol):
    """The class of a scaling driver."""

    ORIGINALS: frozenset[str]
    """Names of the attributes that `prepare` may return as originals. Nothing else is
    ever restored from a journal."""

    def __call__(self, *, fallback_governor: str | None = None) -> ScalingDriver:
        """Create a driver; see `find_driver`."""
        ...
