"""What the monitor tells main; implemented by who listens."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from orchestrator.values.domain import DomainId
    from orchestrator.values.refusal import Refusal


class MonitorListener(Protocol):
    """What the monitor tells main, called in the asyncio thread."""

    def take_wanted(self, group: int) -> None:
        """A vote waits for this group: prepare it if need be, take it, answer."""
        ...

    def group_yielded(self, group: int) -> None:
        """Nobody has voted in it for long: restore it. A later vote wants it again."""
        ...

    def endpoint_closed(self, uuid: DomainId, number: int, reason: str) -> None:
        """The other side of a channel hung up; its votes have ended."""
        ...

    def policy_sent(
        self, uuid: DomainId, number: int, ticket: int, generation: int, packet: bytes
    ) -> None:
        """A guest sent a policy: answer it (`answer_policy`), within 8 ms.

        Args:
            uuid: the domain.
            number: the channel.
            ticket: names this policy in the answer.
            generation: bytes of a packet of the guest.
            packet: all of them; see `protocol.decode_policy`.
        """
        ...

    def policy_removed(self, uuid: DomainId, number: int) -> None:
        """A guest wants its policy no more; nobody answers that."""
        ...

    def request_refused(
        self, uuid: DomainId, number: int, reason: Refusal, vcpu: int, unit: int
    ) -> None:
        """A guest was refused something; said once for each reason.

        And once more after its channel was connected or switched, or its domain was
        defined anew.

        Args:
            uuid: the domain.
            number: the channel.
            reason: why.
            vcpu: number that the request named, of a vCPU or (PHYSICAL) of a CPU.
            unit: of the request, as it came.
        """
        ...

    def write_refused(self, group: int, errno: int) -> None:
        """The kernel refused a clock; said once until a write succeeds."""
        ...

    def monitor_died(self, status: int) -> None:
        """The process ended without being asked; negative: by that signal.

        Clocks stay as they are. Start it again, hand over, connect and adopt anew.
        """
        ...
