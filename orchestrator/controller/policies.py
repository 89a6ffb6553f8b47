# SPDX-License-Identifier: Apache-2.0
"""Policies that are sent: by a guest in a packet, by an operator in an API call.

A guest is answered when its policy is in force or refused, not before; the reason of a
refusal is reported. A guest may send the policies of its own vCPUs as often as it
likes; only a change is reported.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from orchestrator.channel.protocol import GENERATIONS, decode_policy
from orchestrator.controller.actions import (
    EndGuestPolicies,
    InstallPolicy,
    NoteGuestPolicies,
    Report,
    SaveState,
    Severity,
)
from orchestrator.errors import PacketError
from orchestrator.monitor.link.commands import AnswerPolicy
from orchestrator.policy.errors import PolicyError
from orchestrator.policy.guest_request import interpret_request
from orchestrator.policy.subject import Source, SourceKind
from orchestrator.values.refusal import Permission

if TYPE_CHECKING:
    from orchestrator import events
    from orchestrator.controller.actions import Action
    from orchestrator.controller.inventory import Inventory
    from orchestrator.controller.records import DomainRecord
    from orchestrator.policy.subject import PolicyOrder
    from orchestrator.values.domain import DomainId


def on_sent(inventory: Inventory, event: events.PolicySent) -> list[Action]:
    """Install a guest's policy if it is valid, for its own vCPUs, and allowed."""
    try:
        order = _interpret(inventory, event)
    except (PolicyError, PacketError) as error:
        source = Source(SourceKind.GUEST, channel=event.number)
        return _refuse(inventory, event.uuid, source, str(error), event.ticket)
    return [InstallPolicy(event.uuid, event.number, event.ticket, order)]


def on_removed(inventory: Inventory, event: events.PolicyRemoved) -> list[Action]:
    """End a guest's policies, as DPDK's host does: it keeps one per guest."""
    record = inventory.domains.get(event.uuid)
    if record is not None:
        record.awaited_policies = ()
    return [EndGuestPolicies(event.uuid, None, "removed by the guest")]


def on_installed(inventory: Inventory, event: events.PolicyInstalled) -> list[Action]:
    """Answer the guest, and report a policy that is new."""
    actions = _answer(event.uuid, event.source, event.ticket, is_accepted=True)
    record = inventory.domains.get(event.uuid)
    if record is None:
        return actions
    record.policy_refusals.pop(event.source, None)
    if event.is_news:
        by = f", set by {event.by}" if event.by else ""
        again = " again" if event.is_resumed else ""
        text = f"policy {event.kind} of {event.source} is in force{again}{by}"
        actions.append(_report(record, event.source, text))
    return actions + _keep(event.uuid, event.source)


def on_refused(inventory: Inventory, event: events.PolicyRefused) -> list[Action]:
    """Answer the guest, and report the reason."""
    return _refuse(inventory, event.uuid, event.source, event.reason, event.ticket)


def on_ended(inventory: Inventory, event: events.PolicyEnded) -> list[Action]:
    """Report why a policy ended."""
    record = inventory.domains.get(event.uuid)
    if record is None:
        return []
    text = f"policy of {event.source} ended: {event.cause}"
    actions: list[Action] = [_report(record, event.source, text)]
    return actions + _keep(event.uuid, event.source)


def _keep(uuid: DomainId, source: Source) -> list[Action]:
    """Store a change of policies: an operator's for a restart, a guest's for a move."""
    match source.kind:
        case SourceKind.OPERATOR:
            return [SaveState()]
        case SourceKind.GUEST:
            return [NoteGuestPolicies(uuid)]
        case _:
            return []


def _interpret(inventory: Inventory, event: events.PolicySent) -> PolicyOrder:
    record = inventory.domains.get(event.uuid)
    if record is None or not record.spec.state.is_active:
        raise PolicyError("the domain is not running")
    rights = record.rights(inventory.config)
    if not rights.is_enforced:
        raise PolicyError(f"the domain is in mode 'observe' ({rights.mode.source})")
    if Permission.GUEST_POLICIES not in rights.permissions:
        source = rights[Permission.GUEST_POLICIES].source
        raise PolicyError(f"not allowed ({source})")
    packet = decode_policy(event.packet, GENERATIONS[event.generation])
    return interpret_request(
        packet,
        event.generation,
        vcpus={int(p.vcpu): p.reason for p in record.placements.values()},
        macs={interface.mac for interface in record.spec.interfaces},
    )


def _refuse(
    inventory: Inventory,
    uuid: DomainId,
    source: Source,
    reason: str,
    ticket: int | None,
) -> list[Action]:
    actions = _answer(uuid, source, ticket, is_accepted=False)
    record = inventory.domains.get(uuid)
    if record is None or record.policy_refusals.get(source) == reason:
        return actions
    record.policy_refusals[source] = reason
    text = f"policy of {source} refused: {reason}"
    return [*actions, _report(record, source, text, Severity.WARNING)]


def _answer(
    uuid: DomainId, source: Source, ticket: int | None, *, is_accepted: bool
) -> list[Action]:
    if ticket is None or source.channel is None:
        return []
    return [AnswerPolicy(uuid, source.channel, ticket, is_accepted=is_accepted)]


def _report(
    record: DomainRecord,
    source: Source,
    text: str,
    severity: Severity = Severity.INFO,
) -> Report:
    facts: dict[str, int | str] = {"source": str(source)}
    return Report(
        "policy", text, domain=record.spec.name, severity=severity, facts=facts
    )
