"""What the hypervisor tells; implemented by who listens."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from orchestrator.values.domain import DomainId


class HypervisorListener(Protocol):
    """Hears of changes, and asks again what is true now.

    An event is never the truth itself: libvirt's order of events differs from what
    people expect, and by the time one is heard the next may have happened.

    Synchronization: called from libvirt's event thread and from the connecting thread.
    Implementations queue and return; they call neither libvirt nor the hypervisor, and
    do not raise.
    """

    def connected(self) -> None:
        """A connection stands and all events are registered: list the domains now."""
        ...

    def lost(self, reason: str) -> None:
        """The connection ended; what was known stays, another one is being tried."""
        ...

    def waiting(self, reason: str) -> None:
        """Connecting does not succeed; said once for each reason, trying goes on."""
        ...

    def domain_changed(self, uuid: DomainId, what: str) -> None:
        """Something changed: describe the domain again; it may be gone.

        Args:
            uuid: the domain.
            what: a word or two for the log: `started`, `device channel1 added`.
        """
        ...

    def domain_rebooted(self, uuid: DomainId) -> None:
        """The guest was reset; comes two or three times for one reset."""
        ...

    def port_changed(
        self, uuid: DomainId, alias: str, *, is_open: bool, at_ns: int
    ) -> None:
        """The guest opened or closed its port; only over a read-write connection.

        QEMU says so once a second at most, and then how it is: what was meanwhile is
        never told.

        Args:
            uuid: the domain.
            alias: of the port.
            is_open: whether it was opened.
            at_ns: when (monotonic) it was, and not when that was told.
        """
        ...

    def removal_failed(self, uuid: DomainId, alias: str) -> None:
        """A device that was to be detached is still there."""
        ...
