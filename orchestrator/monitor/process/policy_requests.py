# SPDX-License-Identifier: Apache-2.0
"""Forwards guests' policies to main, which installs them.

Theory of operation: policies that can be refused without knowledge of the host are
refused here; others are forwarded unchanged, with a ticket. The guest's answer waits
for main's, in order with its other answers, and is dropped if main takes too long. A
rate limit for each channel protects main from floods. A policy never uses the last
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
    """Forwards policies to main."""

    def __init__(self, report: Callable[[Report], None]) -> None:
        self._report = report
        # Starting with the time: a monitor that is started later never reuses a number
        # that main may still answer.
        self._numbers = count(monotonic_ns())

    def forward(self, endpoint: Endpoint, packet: bytes, now_ns: int) -> Ticket | None:
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

    def forward_removal(self, endpoint: Endpoint, now_ns: int) -> bool:
        """Report that a guest removed its policy; False: the channel sends too many."""
        if not endpoint.allowance.spend(now_ns, keep=0):
            return False
        adopted = endpoint.adopted
        self._report(PolicyRemoved(adopted.uuid, adopted.number, adopted.adoption))
        return True
