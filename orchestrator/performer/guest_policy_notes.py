# SPDX-License-Identifier: Apache-2.0
"""Notes the policies of guests in the metadata of their domains.

Theory of operation: a guest may send 20 policies a second, and libvirt writes a file
for each change of metadata. So a change waits for others, and the state at the end of
that time is written. Where the connection to libvirt is read-only, nothing is written.

Synchronization: the asyncio thread only, except for `_work_write`.
"""

from __future__ import annotations

import asyncio
import logging
from functools import partial
from typing import TYPE_CHECKING

from orchestrator.errors import VmpowerError
from orchestrator.policy.subject import SourceKind
from orchestrator.saved.state import save_policy
from orchestrator.values.domain import GuestPolicy

if TYPE_CHECKING:
    from orchestrator.controller.inventory import Inventory
    from orchestrator.hypervisor.connection import Hypervisor
    from orchestrator.performer.call_pool import CallPool
    from orchestrator.performer.policy_runner import PolicyRunner
    from orchestrator.values.domain import DomainId

logger = logging.getLogger(__name__)

DELAY_S = 0.5
"""How long after a policy its note is written. A domain that is saved or migrated
before that loses the policy there."""


class GuestPolicyNotes:
    """Writes what has changed, some time later."""

    def __init__(
        self,
        *,
        inventory: Inventory,
        policy_runner: PolicyRunner,
        hypervisor: Hypervisor,
        domain_calls: CallPool,
    ) -> None:
        self._inventory = inventory
        self._policy_runner = policy_runner
        self._hypervisor = hypervisor
        self._domain_calls = domain_calls
        self._timers: dict[DomainId, asyncio.TimerHandle] = {}

    def update_later(self, uuid: DomainId) -> None:
        """Write the policies of a domain's guest soon."""
        if uuid not in self._timers:
            loop = asyncio.get_running_loop()
            self._timers[uuid] = loop.call_later(DELAY_S, self._update, uuid)

    def stop(self) -> None:
        """Write nothing more: the policies in force outlive the daemon."""
        for timer in self._timers.values():
            timer.cancel()
        self._timers.clear()

    def _update(self, uuid: DomainId) -> None:
        del self._timers[uuid]
        record = self._inventory.domains.get(uuid)
        if record is None or not record.spec.state.is_active:
            return
        sent = tuple(self._sent(uuid)) + record.awaited_policies
        if set(sent) != set(record.spec.guest_policies):
            work = partial(self._work_write, uuid, sent)
            self._domain_calls.submit(uuid, f"note {sent}", work)

    def _sent(self, uuid: DomainId) -> list[GuestPolicy]:
        return [
            GuestPolicy(channel=saved.channel, text=saved.text, macs=saved.macs)
            for status in self._policy_runner.statuses(uuid)
            if status.source.kind is SourceKind.GUEST
            if (saved := save_policy(status.source, status.order)).channel is not None
        ]

    def _work_write(self, uuid: DomainId, policies: tuple[GuestPolicy, ...]) -> None:
        try:
            self._hypervisor.note_guest_policies(uuid, policies)
        except VmpowerError as error:
            # It stopped meanwhile, or libvirt refuses: the policies are in force here.
            logger.debug("policies of a guest are not noted uuid=%s: %s", uuid, error)
