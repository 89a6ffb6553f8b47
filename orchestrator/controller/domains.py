# SPDX-License-Identifier: Apache-2.0
"""Domains: every event means "describe it again", every description is reconciled.

Theory of operation: start-up, reconnect and resync are the same path, fed from the
list of all domains. A description is compared with the inventory, and only the
difference becomes actions, so a description may arrive any number of times.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

from orchestrator.controller import (
    attributes,
    channel_transitions,
    channels,
    groups,
    idle_cpus,
    moved_policies,
    onboarding,
    p_states,
    policy_subjects,
    saved_state,
    setting_changes,
)
from orchestrator.controller.actions import DescribeDomain, Report, SaveState, Severity
from orchestrator.controller.records import DomainRecord
from orchestrator.monitor.link.commands import (
    DefineDomain,
    ForgetDomain,
    VCpuDefinition,
)
from orchestrator.values.domain import DomainState
from orchestrator.values.refusal import Refusal

if TYPE_CHECKING:
    from collections.abc import Iterable

    from orchestrator import events
    from orchestrator.controller.actions import Action
    from orchestrator.controller.inventory import Inventory
    from orchestrator.values.domain import DomainId, DomainSpec


def on_listed(inventory: Inventory, event: events.DomainsListed) -> list[Action]:
    """Describe all domains in the list, forget all others."""
    if inventory.first_listed is None:
        inventory.first_listed = frozenset(event.uuids)
    actions: list[Action] = []
    for uuid in [u for u in inventory.domains if u not in event.uuids]:
        actions += _forget(inventory, uuid)
    actions += saved_state.forget_missing(inventory, event.uuids)
    actions += idle_cpus.on_all_known(inventory)
    return actions + [DescribeDomain(uuid) for uuid in event.uuids]


def on_changed(_inventory: Inventory, event: events.DomainChanged) -> list[Action]:
    """Ask for a new description."""
    return [DescribeDomain(event.uuid)]


def on_vanished(inventory: Inventory, event: events.DomainVanished) -> list[Action]:
    """Forget it."""
    if event.uuid in inventory.domains:
        return _forget(inventory, event.uuid)
    _forget_listed(inventory, event.uuid)
    return idle_cpus.on_all_known(inventory)


def on_undescribed(
    inventory: Inventory, event: events.DomainUndescribed
) -> list[Action]:
    """Keep the last description; the next event or resync asks again."""
    record = inventory.domains.get(event.uuid)
    return [
        Report(
            "libvirt",
            f"reading the domain failed: {event.reason}",
            domain=record.spec.name if record else event.uuid,
            severity=Severity.WARNING,
        )
    ]


def on_rebooted(inventory: Inventory, event: events.DomainRebooted) -> list[Action]:
    """End the requests and policies of the guest before the reboot."""
    record = inventory.domains.get(event.uuid)
    if record is None:
        return [DescribeDomain(event.uuid)]
    record.awaited_policies = ()
    actions = channel_transitions.withdraw(event.uuid, None, "the guest rebooted")
    if not record.is_reboot_reported:
        record.is_reboot_reported = True
        text = "guest rebooted"
        actions.append(Report("domain-changed", text, domain=record.spec.name))
    return actions


def on_resync(inventory: Inventory) -> None:
    """Report the next reboots, also of guests that open no port."""
    for record in inventory.domains.values():
        record.is_reboot_reported = False


def on_described(inventory: Inventory, event: events.DomainDescribed) -> list[Action]:
    """Reconcile a domain with its description."""
    spec = event.spec
    record = inventory.domains.get(spec.uuid)
    is_new = record is None
    actions: list[Action] = []
    if record is None:
        record = inventory.domains[spec.uuid] = DomainRecord(
            dataclasses.replace(
                spec, state=DomainState.SHUTOFF, vcpus=(), channels=(), run=-1
            )
        )
    touched = record.used_groups()
    old, record.spec = record.spec, spec
    inventory.note_name(record, old.name)
    if spec.run != old.run:
        # Its policies end even if the daemon never saw it off.
        actions += policy_subjects.forget(record)
        actions += moved_policies.await_ports(inventory, record, is_new=is_new)
    actions += _report_changes(old, spec)
    if (spec.settings, spec.name) != (old.settings, old.name):
        config = inventory.config
        actions += setting_changes.report_rights((config, old), (config, spec))
    actions += channels.reconcile(
        inventory,
        record,
        is_restarted=spec.run != old.run,
        asked_ns=event.asked_ns,
    )
    resumption = saved_state.resume(inventory, record)
    actions += resumption.before
    if _relevant_parts(spec) != _relevant_parts(old):
        actions += replace_vcpus(inventory, record, touched)
    actions += resumption.after
    actions += moved_policies.resume_open(inventory, record)
    actions += idle_cpus.on_all_known(inventory)
    actions += onboarding.review(inventory, record)
    return actions + p_states.review(inventory, record)


def _relevant_parts(spec: DomainSpec) -> tuple[object, ...]:
    """Return the parts that affect frequencies: most descriptions change none."""
    parts = spec.vcpus, spec.state, spec.run, spec.settings, spec.name
    return *parts, spec.interfaces, spec.threads


def replace_vcpus(
    inventory: Inventory, record: DomainRecord, touched: Iterable[int] = ()
) -> list[Action]:
    """Place a domain's vCPUs again and send the monitor the changes.

    Args:
        inventory: what exists.
        record: the domain.
        touched: groups that may be affected besides those of the placements.
    """
    before = set(touched) | record.used_groups()
    switched = inventory.place_all(record)
    touched = before | record.used_groups() | switched
    present = touched & inventory.groups.keys()
    return [
        # A group must be known before a vCPU is put into it.
        *groups.define(inventory, present),
        *define(inventory, record),
        *policy_subjects.define(inventory, record),
        *groups.need(inventory, present, record),
        *attributes.hold_for_domain(inventory, record, touched),
    ]


def define(inventory: Inventory, record: DomainRecord) -> list[Action]:
    """Send the monitor a domain's definition if it changed."""
    if not record.spec.state.is_active:
        if record.sent is None:
            return []
        record.sent = None
        return [ForgetDomain(record.spec.uuid)]
    definition = _definition(inventory, record)
    if definition == record.sent:
        return []
    record.sent = definition
    return [definition]


def _definition(inventory: Inventory, record: DomainRecord) -> DefineDomain:
    rights = record.rights(inventory.config)
    return DefineDomain(
        uuid=record.spec.uuid,
        is_executing=record.spec.state.is_executing,
        is_enforced=rights.is_enforced,
        permissions=rights.permissions,
        generation=rights.generation.value,
        vcpus=tuple(
            VCpuDefinition(
                vcpu=placement.vcpu,
                group=placement.group,
                limits=rights.limits,
                is_turbo_allowed=inventory.may_use_turbo(rights, placement.group),
                refusal=placement.refusal or Refusal.FLOATING,
                siblings=placement.siblings,
            )
            for placement in record.placements.values()
        ),
        following=tuple(sorted(record.following())),
    )


def _report_changes(old: DomainSpec, new: DomainSpec) -> list[Action]:
    actions: list[Action] = []
    if new.name != old.name:
        text = f"renamed from {old.name}"
        actions.append(Report("domain-changed", text, domain=new.name))
    if new.state is not old.state:
        facts = {"state": str(new.state)}
        text = f"domain is {new.state}"
        actions.append(Report("domain-changed", text, domain=new.name, facts=facts))
    actions += [
        Report("domain-changed", p, domain=new.name, severity=Severity.WARNING)
        for p in new.problems
        if p not in old.problems
    ]
    return actions


def _forget(inventory: Inventory, uuid: DomainId) -> list[Action]:
    record, switched = inventory.forget(uuid)
    _forget_listed(inventory, uuid)
    touched = (record.used_groups() | switched) & inventory.groups.keys()
    return [
        *channels.close_all(inventory, record),
        *policy_subjects.forget(record),
        *groups.define(inventory, touched),
        ForgetDomain(uuid),
        *groups.need(inventory, touched, record),
        *attributes.forget(inventory, record),
        Report("domain-changed", "domain is gone", domain=record.spec.name),
        SaveState(),
    ]


def _forget_listed(inventory: Inventory, uuid: DomainId) -> None:
    if inventory.first_listed is not None:
        inventory.first_listed -= {uuid}  # it may be migrated back
