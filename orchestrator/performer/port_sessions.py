"""Ends what guests asked for through ports that they have closed, and nothing else.

Theory of operation: a port is opened and closed by one program after another, and a
channel does not say which of them sent what. QEMU says when a port changed, but at most
once a second for each port and then only how it is; libvirt and our own threads add
what they take. So a close is told when another program may have opened the port and
been answered. But what a channel brings proves that its port was open when it was sent:
what was heard before the close ends, what was heard after it does not. Where it is not
clear on which side the last bytes were, the port's state is asked for as soon as the
channel has been silent for so long that it must be true. Ending late is harmless: the
vCPU of a program that is gone stays slow for a second longer. Ending early would break
what a guest was promised.

Synchronization: the asyncio thread only.
"""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

from orchestrator import events
from orchestrator.controller.channels import PORT_STATE_LAGS_NS
from orchestrator.monitor.link.commands import WithdrawVotes

if TYPE_CHECKING:
    from collections.abc import Callable

    from orchestrator.controller.actions import EndPortSession
    from orchestrator.monitor.client.client import Monitor
    from orchestrator.performer.policy_runner import PolicyRunner
    from orchestrator.values.domain import DomainId

NOTED_LATE_NS = 50_000_000
"""By how much later than its bytes were noted a guest may have sent them: the time of
the monitor's poll is noted, and they are read in the same pass."""


class PortSessions:
    """Ends them."""

    def __init__(
        self,
        monitor: Monitor,
        policy_runner: PolicyRunner,
        post: Callable[[events.Event], None],
    ) -> None:
        self._monitor = monitor
        self._policy_runner = policy_runner
        self._post = post
        self._doubts: dict[tuple[DomainId, int], asyncio.TimerHandle] = {}

    def end(self, action: EndPortSession) -> None:
        """End what was asked for before a port changed, unless more came since."""
        key = (action.uuid, action.number)
        if doubt := self._doubts.pop(key, None):
            doubt.cancel()
        last_received_ns = self._monitor.last_received_ns(*key)
        if last_received_ns + NOTED_LATE_NS < action.at_ns:
            # In this order: nothing that a policy wants comes after the votes' end.
            self._policy_runner.end_guest(*key)
            self._monitor.send(WithdrawVotes(*key, until_ns=action.at_ns))
        elif action.is_closed:
            self._doubt(action, last_received_ns)

    def _doubt(self, action: EndPortSession, last_received_ns: int) -> None:
        key = (action.uuid, action.number)
        told_ns = last_received_ns + NOTED_LATE_NS + PORT_STATE_LAGS_NS
        delay_s = max(0, told_ns - time.monotonic_ns()) / 1e9
        doubted = events.PortCloseUnconfirmed(*key)
        loop = asyncio.get_running_loop()
        self._doubts[key] = loop.call_later(delay_s, self._post, doubted)
