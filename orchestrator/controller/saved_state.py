# SPDX-License-Identifier: Apache-2.0
"""Decisions of the daemon's last run: resumed where they still apply.

Overrides are resumed when the CPUs are known; what concerns a domain when it is
described first. Votes and policies are resumed if the domain is still in the same run;
those of a guest also require that it did not close the port. What is not resumed is
reported with the cause.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from orchestrator.controller import groups, resumed_policies
from orchestrator.controller.actions import (
    Report,
    ResumeVotes,
    SaveState,
    Severity,
)
from orchestrator.monitor.link.commands import SwitchChannel
from orchestrator.policy.subject import SourceKind
from orchestrator.saved.state import (
    SavedDomain,
    SavedOverride,
    SavedPolicy,
    SavedState,
    SavedVote,
    save_policy,
)
from orchestrator.values.cpuset import name_all
from orchestrator.values.domain_settings import Mode
from orchestrator.values.units import format_khz

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from orchestrator import events
    from orchestrator.controller.actions import Action
    from orchestrator.controller.inventory import Inventory
    from orchestrator.controller.records import DomainRecord
    from orchestrator.policy.subject import PolicyStatus
    from orchestrator.values.domain import DomainId

_SAVED_KINDS = (SourceKind.OPERATOR, SourceKind.GUEST)


# What is in force


def collect(
    inventory: Inventory,
    policies: Iterable[PolicyStatus],
    votes: Mapping[DomainId, tuple[SavedVote, ...]],
) -> SavedState:
    """Return everything that is decided now, guests' decisions included.

    Args:
        inventory: what exists.
        policies: those in effect.
        votes: of guests, by domain.
    """
    by_domain: dict[DomainId, list[SavedPolicy]] = {}
    for status in policies:
        if status.source.kind in _SAVED_KINDS:
            saved = save_policy(status.source, status.order)
            by_domain.setdefault(status.uuid, []).append(saved)
    found = {
        uuid: _save_domain(record, by_domain.get(uuid, ()), votes.get(uuid, ()))
        for uuid, record in inventory.domains.items()
    }
    return SavedState(
        overrides=tuple(
            SavedOverride(group=number, khz=record.override_khz, by=record.override_by)
            for number, record in inventory.groups.items()
            if record.override_khz is not None
        ),
        domains={
            **inventory.saved,
            **{uuid: saved for uuid, saved in found.items() if not saved.is_empty},
        },
    )


def _save_domain(
    record: DomainRecord,
    policies: Iterable[SavedPolicy],
    votes: tuple[SavedVote, ...],
) -> SavedDomain:
    channels = record.channels.items()
    return SavedDomain(
        name=record.spec.name,
        run=record.spec.run,
        sockets={n: c.spec.socket for n, c in channels if c.spec.socket is not None},
        disabled={n: c.disabled_by for n, c in channels if c.disabled_by is not None},
        policies=tuple(policies),
        votes=votes,
    )


# What was in force


def on_loaded(inventory: Inventory, event: events.StateLoaded) -> list[Action]:
    """Resume overrides, and remember what concerns domains."""
    inventory.saved = dict(event.state.domains)
    actions: list[Action] = []
    for override in event.state.overrides:
        actions += _resume_override(inventory, override)
    return [*actions, SaveState()]


def _resume_override(inventory: Inventory, saved: SavedOverride) -> list[Action]:
    record = inventory.groups.get(saved.group)
    if record is None or inventory.config.mode is Mode.OBSERVE:
        why = "the daemon is in observe mode" if record else "no such clock group"
        at = f"clock group {saved.group} at {format_khz(saved.khz)}"
        text = f"override of {at} ended: {why}"
        return [Report("operator", text, severity=Severity.WARNING)]
    khz = inventory.group_window(saved.group).fit(saved.khz)
    return groups.override(inventory, record, khz, saved.by, is_resumed=True)


def forget_missing(inventory: Inventory, uuids: Iterable[DomainId]) -> list[Action]:
    """Drop what concerns domains that libvirt does not have any more."""
    gone = inventory.saved.keys() - set(uuids)
    actions: list[Action] = []
    for uuid in sorted(gone):
        saved = inventory.saved.pop(uuid)
        actions += _report_ended(saved, "the domain is gone")
    return [*actions, SaveState()] if gone else []


class Resumption(NamedTuple):
    """What is resumed of one domain, before and after the monitor knows it."""

    before: list[Action]
    after: list[Action]


def resume(inventory: Inventory, record: DomainRecord) -> Resumption:
    """Resume what was decided about a domain, at its first description."""
    saved = inventory.saved.pop(record.spec.uuid, None)
    if saved is None:
        return Resumption([], [])
    before = _disable_channels(record, saved)
    if not saved.is_run_of(record.spec):
        is_on = record.spec.state.is_active
        why = "the domain was restarted" if is_on else "the domain was shut off"
        ended = _report_ended(saved, why)
        return Resumption([*before, *ended], [SaveState()])
    open_ports = {
        channel.spec.number
        for channel in record.channels.values()
        if channel.is_enabled and channel.spec.is_guest_connected is not False
    }
    votes = _valid_votes(inventory, record, saved, open_ports)
    if votes:
        before.append(ResumeVotes(record.spec.uuid, votes))
    after = _take_groups(inventory, record, votes)
    for policy in saved.policies:
        is_closed = policy.is_of_guest and policy.channel not in open_ports
        obstacle = "the guest closed its port" if is_closed else ""
        after.append(resumed_policies.resume(inventory, record, policy, obstacle))
    for number in _used_channels(saved, votes):
        # As after the monitor's death: they end unless the channel is connected soon.
        record.channels[number].orphaned_s = 0.0
    return Resumption(before, [*_report_votes(record, votes), *after, SaveState()])


def _disable_channels(record: DomainRecord, saved: SavedDomain) -> list[Action]:
    actions: list[Action] = []
    for number, by in saved.disabled.items():
        channel = record.channels.get(number)
        if channel is None:
            continue
        channel.disabled_by = by
        text = f"channel {number} remains disabled, as set by {by}"
        actions += [
            SwitchChannel(record.spec.uuid, number, is_enabled=False),
            Report("operator", text, domain=record.spec.name),
        ]
    return actions


def _valid_votes(
    inventory: Inventory, record: DomainRecord, saved: SavedDomain, ports: set[int]
) -> tuple[SavedVote, ...]:
    group_of = {int(v.vcpu): inventory.place(v).group for v in record.spec.vcpus}
    return tuple(
        vote
        for vote in saved.votes
        if vote.channel in ports and group_of.get(vote.vcpu) == vote.group
    )


def _take_groups(
    inventory: Inventory, record: DomainRecord, votes: tuple[SavedVote, ...]
) -> list[Action]:
    """Take the clock groups: a guest does not repeat a request that was answered."""
    if not record.rights(inventory.config).is_enforced:
        return []
    actions: list[Action] = []
    for number in sorted({vote.group for vote in votes}):
        actions += groups.take(inventory, number)
    return actions


def _used_channels(saved: SavedDomain, votes: tuple[SavedVote, ...]) -> set[int]:
    policies = {p.channel for p in saved.policies if p.channel is not None}
    return policies | {vote.channel for vote in votes}


def _report_votes(record: DomainRecord, votes: tuple[SavedVote, ...]) -> list[Action]:
    if not votes:
        return []
    vcpus = name_all("vCPU", (vote.vcpu for vote in votes))
    text = f"votes of the guest for {vcpus} resumed"
    return [Report("domain-changed", text, domain=record.spec.name)]


def _report_ended(saved: SavedDomain, cause: str) -> list[Action]:
    return [
        resumed_policies.report_ended(saved.name, policy, cause)
        for policy in saved.policies
    ]
