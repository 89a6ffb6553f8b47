# SPDX-License-Identifier: Apache-2.0
"""Policies of guests whose domain was restored from a saved state, or migrated here.

For libvirt both are a new run, but the program in the guest continues, and does not
send its policy again. So policies are noted in the metadata of the running domain,
which a saved state and a migration include. QEMU reports the guest's port as open some
time after the start (measured: 0.4 s), as if another program had opened it, so the
policies are installed after that report.

This is not about domains that were running when the daemon started: what their guests
had sent is in the state file, or ended with a daemon that was killed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from orchestrator.controller import resumed_policies
from orchestrator.controller.actions import NoteGuestPolicies
from orchestrator.policy.subject import SourceKind
from orchestrator.saved.state import SavedPolicy

if TYPE_CHECKING:
    from orchestrator.controller.actions import Action
    from orchestrator.controller.inventory import Inventory
    from orchestrator.controller.records import DomainRecord
    from orchestrator.values.domain import DomainSpec, GuestPolicy


def await_ports(
    inventory: Inventory, record: DomainRecord, *, is_new: bool
) -> list[Action]:
    """Remember the policies of a domain that is in a new run.

    Args:
        inventory: what exists, with what was saved of the domain.
        record: the domain, with its new description.
        is_new: whether it is the first description of the domain.
    """
    spec = record.spec
    record.awaited_policies = ()
    if not spec.guest_policies:
        return []
    if is_new and not _has_moved(inventory, spec):
        return [NoteGuestPolicies(spec.uuid)]  # removes those that have ended
    record.awaited_policies = spec.guest_policies
    return []


def _has_moved(inventory: Inventory, spec: DomainSpec) -> bool:
    """Whether a new domain was restored or migrated, not found at the start."""
    saved, first = inventory.saved.get(spec.uuid), inventory.first_listed
    if saved is not None:
        return not saved.is_run_of(spec)
    return first is not None and spec.uuid not in first


def resume_open(inventory: Inventory, record: DomainRecord) -> list[Action]:
    """Install the policies whose port the guest has open."""
    if not record.awaited_policies:
        return []
    unopened = {
        number
        for number, channel in record.channels.items()
        if not channel.spec.is_guest_connected  # not reported at first, then closed
    }
    ready = [each for each in record.awaited_policies if each.channel not in unopened]
    record.awaited_policies = tuple(
        each for each in record.awaited_policies if each.channel in unopened
    )
    return [_resume(inventory, record, policy) for policy in ready]


def _resume(inventory: Inventory, record: DomainRecord, policy: GuestPolicy) -> Action:
    saved = SavedPolicy(
        kind=SourceKind.GUEST,
        channel=policy.channel,
        text=policy.text,
        macs=policy.macs,
    )
    channel = record.channels.get(policy.channel)
    is_served = channel is not None and channel.is_enabled
    return resumed_policies.resume(
        inventory,
        record,
        saved,
        "" if is_served else f"channel {policy.channel} is not served here",
        occasion="the domain was restored or migrated, ",
    )
