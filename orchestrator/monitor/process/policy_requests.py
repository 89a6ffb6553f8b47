"""Where guests' policies pass on their way to main, which installs them.

Theory of operation: what can be refused without knowing the host is refused here; the
rest goes to main as it came, under a ticket. The guest's answer waits for main's, in
order with its other answers, and is not given if main took too long. A guest may flood
its channel, but not main: each channel has an allowance. Nobody may send the last
message of it, so that a guest can always remove what it has just sent.

Synchronization: one thread, the monitor's.
"""

from __future__ import annotations

from itertools import count
from time import monotonic_ns
from typing import TYPE_CHECKING

from orchestrator.monitor.link.reports import PolicyRemoved, PolicySent
from orchestrator.monitor.process.allowance import Ticket

if TYPE_CHECKING:
    from collections.abc import Callable

    from orchestrator.monitor.link.reports import Report
    from orchestrator.monitor.process.endpoint import Endpoint


class PolicyForwarder:
    """Passes policies to main."""

    def __init__(self, report: Callable[[Report], None]) -> None:
        self._report = report
        # A clock's time: no monitor that is started later can use a number again, for
        # which main's answer may still be under way.
        self._numbers = count(monotonic_ns())

    def submit(self, endpoint: Endpoint, packet: bytes, now_ns: int) -> Ticket | None:
        """Ask main to install a policy; None: the channel sends too many."""
        if not endpoint.allowance.spend(now_ns, keep=1):
            return None
        ticket = Ticket(next(self._numbers))
        adopted = endpoint.adopted
        self._report(
            PolicySent(
                uuid=adopted.uuid,
                number=adopted.number,
                adoption=adopted.adoption,
                ticket=ticket.number,
                generation=len(packet),
                packet=packet.decode("latin-1"),
            )
        )
        return ticket

    def remove(self, endpoint: Endpoint, now_ns: int) -> bool:
        """Tell main that a guest wants its policy no more; False: said too often."""
        if not endpoint.allowance.spend(now_ns, keep=0):
            return False
        adopted = endpoint.adopted
        self._report(PolicyRemoved(adopted.uuid, adopted.number, adopted.adoption))
        return True
