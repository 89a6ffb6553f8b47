# SPDX-License-Identifier: Apache-2.0
"""Domains as the policy engine sees them, with their configured policies.

Policies of guests and of operators are installed by events of their own (`policies`);
this module covers those of the configuration and of a domain's metadata.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from orchestrator.controller import attributes
from orchestrator.controller.actions import ForgetPolicySubject, UpdatePolicySubject
from orchestrator.controller.groups import need
from orchestrator.policy.compile import orders_for
from orchestrator.policy.subject import PolicySubject, Source, SourceKind, VCpuPlace
from orchestrator.policy.text import parse_policies
from orchestrator.rights import METADATA
from orchestrator.values.refusal import Permission

if TYPE_CHECKING:
    from collections.abc import Iterator

    from orchestrator import events
    from orchestrator.controller.actions import Action
    from orchestrator.controller.inventory import Inventory
    from orchestrator.controller.records import DomainRecord
    from orchestrator.policy.rule import PolicyRule
    from orchestrator.policy.subject import PolicyOrder
    from orchestrator.rights import Rights


def define(inventory: Inventory, record: DomainRecord) -> list[Action]:
    """Update the policy engine's view of a domain, after the monitor's."""
    if not record.spec.state.is_active:
        return forget(record)
    rights = record.rights(inventory.config)
    update = UpdatePolicySubject(
        PolicySubject(
            uuid=record.spec.uuid,
            is_executing=record.spec.state.is_executing,
            places=tuple(_places(inventory, record, rights)),
            vcpus=frozenset(map(int, record.placements)),
            interfaces=record.spec.interfaces,
            may_install=Permission.GUEST_POLICIES in rights.permissions,
        ),
        _configured_orders(inventory, record, rights),
    )
    if update == record.last_subject:
        return []
    record.last_subject = update
    record.policy_refusals = {
        source: reason
        for source, reason in record.policy_refusals.items()
        if source.kind is SourceKind.GUEST or source in update.orders
    }
    return [update]


def forget(record: DomainRecord) -> list[Action]:
    """End all policies of a domain that is no longer running."""
    if record.last_subject is None:
        return []
    record.last_subject = None
    record.policed, record.policy_attributes = frozenset(), {}
    record.policy_refusals = {}
    return [ForgetPolicySubject(record.spec.uuid)]


def on_policies_changed(
    inventory: Inventory, event: events.PoliciesChanged
) -> list[Action]:
    """Prepare the clock groups that policies need, hold what they want held."""
    record = inventory.domains.get(event.uuid)
    if record is None or record.last_subject is None:
        return []
    record.policed, record.policy_attributes = event.effect
    return [
        *need(inventory, record.used_groups(), record),
        *attributes.hold_for_domain(inventory, record, record.groups()),
    ]


def _places(
    inventory: Inventory, record: DomainRecord, rights: Rights
) -> Iterator[VCpuPlace]:
    for placement in record.placements.values():
        if placement.group is not None:
            yield VCpuPlace(
                vcpu=placement.vcpu,
                group=placement.group,
                pcpus=frozenset(placement.pcpus),
                window=inventory.vcpu_window(rights, placement.group),
            )


def _configured_orders(
    inventory: Inventory, record: DomainRecord, rights: Rights
) -> dict[Source, PolicyOrder]:
    """Return the configured policies; the first that names a vCPU applies to it."""
    setting = rights.policies
    own = parse_policies(setting.value or "", match=record.spec.uuid)
    if setting.source == METADATA:
        by_kind = {SourceKind.RULE: inventory.config.policy, SourceKind.METADATA: own}
    else:
        by_kind = {SourceKind.RULE: (*inventory.config.policy, *own)}
    return {
        Source(kind, name): order
        for kind, rules in by_kind.items()
        for name, order in _orders(record, rules).items()
    }


def _orders(
    record: DomainRecord, rules: tuple[PolicyRule, ...]
) -> dict[str, PolicyOrder]:
    spec = record.spec
    return orders_for(
        rules, uuid=spec.uuid, name=spec.name, vcpus={int(v.vcpu) for v in spec.vcpus}
    )
