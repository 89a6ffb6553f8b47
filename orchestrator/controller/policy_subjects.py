"""Domains as their policies know them: who may be steered, and what stands for it.

Policies of guests and of operators are installed by their own events; here are those
that somebody has written down, in the configuration or in a domain's metadata.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from orchestrator.controller.actions import DefineTenant, ForgetTenant
from orchestrator.controller.groups import need
from orchestrator.policy.compile import orders_for
from orchestrator.policy.subject import Source, SourceKind, Tenant, VCpuPlace
from orchestrator.policy.text import parse_policies
from orchestrator.rights import METADATA, resolve_rights

if TYPE_CHECKING:
    from collections.abc import Iterator

    from orchestrator import events
    from orchestrator.controller.actions import Action
    from orchestrator.controller.inventory import DomainRecord, Inventory
    from orchestrator.policy.rule import PolicyRule
    from orchestrator.policy.subject import PolicyOrder
    from orchestrator.rights import Rights


def define(inventory: Inventory, record: DomainRecord) -> list[Action]:
    """Tell the policies about a domain if it changed; after the monitor was told."""
    if not record.spec.state.is_active:
        return forget(record)
    rights = resolve_rights(inventory.config, record.spec)
    tenancy = DefineTenant(
        Tenant(
            uuid=record.spec.uuid,
            is_executing=record.spec.state.is_executing,
            places=tuple(_places(inventory, record, rights)),
            interfaces=record.spec.interfaces,
            may_install=rights.guest_policies.value,
        ),
        _standing_orders(inventory, record, rights),
    )
    if tenancy == record.tenancy:
        return []
    record.tenancy = tenancy
    record.policy_refusals = {
        source: reason
        for source, reason in record.policy_refusals.items()
        if source.kind is SourceKind.GUEST or source in tenancy.orders
    }
    return [tenancy]


def forget(record: DomainRecord) -> list[Action]:
    """End all policies of a domain that does not run any more."""
    if record.tenancy is None:
        return []
    record.tenancy = None
    record.policed = frozenset()
    record.policy_refusals = {}
    return [ForgetTenant(record.spec.uuid)]


def on_policies_changed(
    inventory: Inventory, event: events.PoliciesChanged
) -> list[Action]:
    """Prepare the clocks that policies may ask for now, drop those of no use."""
    record = inventory.domains.get(event.uuid)
    if record is None or record.tenancy is None:
        return []
    record.policed = event.vcpus
    return need(inventory, record.groups())


def _places(
    inventory: Inventory, record: DomainRecord, rights: Rights
) -> Iterator[VCpuPlace]:
    if not record.is_enforced():
        return
    for placement in record.placements.values():
        if placement.group is not None:
            yield VCpuPlace(
                vcpu=placement.vcpu,
                group=placement.group,
                pcpus=frozenset(placement.pcpus),
                steps_khz=inventory.vcpu_window(rights, placement.group).khz,
            )


def _standing_orders(
    inventory: Inventory, record: DomainRecord, rights: Rights
) -> dict[Source, PolicyOrder]:
    """Return what is written down, each vCPU with the first that covers it."""
    said = rights.policies
    own = parse_policies(said.value or "", match=record.spec.uuid)
    if said.source == METADATA:
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
