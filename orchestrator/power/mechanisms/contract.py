# SPDX-License-Identifier: Apache-2.0
"""The contract of a mechanism that sets the frequencies of clock groups.

Source: Documentation/admin-guide/pm/cpufreq.rst of the kernel (policies, governors).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from orchestrator.power.group import ClockGroup, PreparedGroup
    from orchestrator.power.sysfs import CpuTree


class Mechanism(Protocol):
    """Takes clock groups, so that their frequencies can be written.

    Synchronization: none required; a mechanism keeps no state of a group. Calls block
    for up to some 60 ms, because stopping a governor waits for RCU; so they must not
    run in an event loop.
    """

    def prepare(self, tree: CpuTree, group: ClockGroup) -> PreparedGroup:
        """Read the originals and open the descriptors; change nothing.

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
            SysfsError: a file could not be read; ENODEV: the kernel has replaced the
                scaling driver, and the descriptors are useless.
        """
        ...

    def take(self, prepared: PreparedGroup) -> None:
        """Take the group, so that its frequency can be written; idempotent.

        Raises:
            SysfsError: the kernel refused; nothing changed.
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


class MechanismClass(Protocol):
    """The class of a mechanism."""

    TAKEN_GOVERNOR: str
    """The governor of a taken group."""
    ORIGINALS: frozenset[str]
    """Names of the attributes that `prepare` may return as originals. Nothing else is
    ever restored from a journal."""

    def __call__(self, *, fallback_governor: str | None = None) -> Mechanism:
        """Create a mechanism; see `find_mechanism`."""
        ...
