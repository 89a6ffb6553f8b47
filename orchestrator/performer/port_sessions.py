# SPDX-License-Identifier: Apache-2.0
"""Ends what guests requested through a port that they have closed since.

Theory of operation: programs in a guest open and close a port one after another, and a
channel does not show which of them sent what. QEMU reports a change of a port at most
once a second, and only the latest state; libvirt and our threads add delays. So when a
close is reported, the next program may already have opened the port and received
answers. But data on a channel proves that its port was open when they were sent:
requests that were received before the close end, later ones do not. If it is unclear
whether the last data were sent before or after, the port's state is read as soon as the
channel has been silent for long enough that the state must be current. Ending votes
late is harmless: the vCPU of a program that is gone stays slow for a second longer.
Ending them early would revoke what was acknowledged.

Synchronization: the asyncio thread only.
"""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

from orchestrator import events
from orchestrator.controller.guest_ports import PORT_STATE_LAGS_NS
from orchestrator.monitor.link.commands import WithdrawVotes

if TYPE_CHECKING:
    from collections.abc import Callable

    from orchestrator.controller.actions import EndPortSession
    from orchestrator.monitor.client.client import Monitor
    from orchestrator.performer.policy_runner import PolicyRunner
    from orchestrator.values.domain import DomainId

MAX_NOTE_LAG_NS = 50_000_000
"""How much later than noted a guest may have sent its data: the time of the monitor's
poll is noted, and they are read in the same pass."""


class PortSessions:
    """Ends the sessions of ports."""

    def __init__(
        self,
        monitor: Monitor,
        policy_runner: PolicyRunner,
        post: Callable[[events.Event], None],
    ) -> None:
        self._monitor = monitor
        self._policy_runner = policy_runner
        self._post = post
        self._timers: dict[tuple[DomainId, int], asyncio.TimerHandle] = {}

    def end(self, action: EndPortSession) -> None:
        """End what was requested before a port changed, unless more arrived since."""
        key = (action.uuid, action.number)
        if timer := self._timers.pop(key, None):
            timer.cancel()
        last_received_ns = self._monitor.last_received_ns(*key)
        if last_received_ns + MAX_NOTE_LAG_NS < action.at_ns:
            # In this order: no policy may vote after the votes have ended.
            cause = "the guest closed its port"
            if not action.is_closed:
                cause = "another program of the guest opened its port"
            self._policy_runner.end_guest(*key, cause)
            self._monitor.send(WithdrawVotes(*key, until_ns=action.at_ns))
        elif action.is_closed:
            self._check_later(action, last_received_ns)

    def _check_later(self, action: EndPortSession, last_received_ns: int) -> None:
        key = (action.uuid, action.number)
        known_ns = last_received_ns + MAX_NOTE_LAG_NS + PORT_STATE_LAGS_NS
        delay_s = max(0, known_ns - time.monotonic_ns()) / 1e9
        unconfirmed = events.PortCloseUnconfirmed(*key)
        loop = asyncio.get_running_loop()
        self._timers[key] = loop.call_later(delay_s, self._post, unconfirmed)
