"""The life of clock groups: prepared when needed, taken when wanted, given back.

Theory of operation: while a group is prepared, taken or restored, the performer works
on it in another thread, so a stage ending in -ing means "an outcome will come". What
is wanted meanwhile is remembered (`is_take_wanted`) and done when it has come: there
is never more than one operation under way per group.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

from orchestrator.controller.actions import (
    DropGroup,
    PrepareGroup,
    ReadTopology,
    Report,
    RestoreGroup,
    Severity,
    TakeGroup,
)
from orchestrator.controller.inventory import GroupRecord, GroupStage, Inventory
from orchestrator.monitor.link.commands import (
    AnswerTake,
    ConfirmRelease,
    DefineGroup,
    HandOver,
    TakeBack,
)
from orchestrator.values.cpuset import name_cpus
from orchestrator.values.units import format_khz

if TYPE_CHECKING:
    from collections.abc import Iterable

    from orchestrator import events
    from orchestrator.controller.actions import Action

HELD_STAGES = frozenset(
    {
        GroupStage.PREPARED,
        GroupStage.TAKING,
        GroupStage.TAKEN,
        GroupStage.RESTORING,
    }
)
"""Stages in which the group's descriptors are open."""


def define(inventory: Inventory, numbers: Iterable[int]) -> list[Action]:
    """Tell the monitor about groups that changed."""
    actions: list[Action] = []
    for number in sorted(numbers):
        record = inventory.groups[number]
        definition = _definition(inventory, record)
        if definition != record.sent:
            record.sent = definition
            actions.append(definition)
    return actions


def _definition(inventory: Inventory, record: GroupRecord) -> DefineGroup:
    group = record.group
    return DefineGroup(
        group=group.number,
        steps=group.steps,
        limits=inventory.group_limits(group),
        has_host_cpus=_has_host_cpus(inventory, record),
        override_khz=record.override_khz,
    )


def _has_host_cpus(inventory: Inventory, record: GroupRecord) -> bool:
    if inventory.config.power.share_with_host:
        return False
    pinned = {
        pcpu
        for domain in inventory.pinned_into(record.group.number)
        for placement in domain.placements.values()
        if placement.group == record.group.number
        for pcpu in placement.pcpus
    }
    return not (record.group.pcpus & inventory.topology.online) <= pinned


def need(inventory: Inventory, numbers: Iterable[int]) -> list[Action]:
    """Prepare groups that are needed, drop those that no longer are."""
    actions: list[Action] = []
    for number in sorted(numbers):
        record = inventory.groups.get(number)
        if record is None:
            continue
        is_needed = inventory.is_needed(number)
        if is_needed and record.stage is GroupStage.IDLE:
            record.stage = GroupStage.PREPARING
            actions.append(PrepareGroup(number))
        elif not is_needed and record.stage is GroupStage.PREPARED:
            record.stage = GroupStage.IDLE
            record.is_take_wanted = False
            actions += [TakeBack(number), DropGroup(number)]
    return actions


def on_prepared(inventory: Inventory, event: events.GroupPrepared) -> list[Action]:
    """A group can be taken now."""
    record = inventory.groups[event.group]
    record.stage = GroupStage.PREPARED
    record.reason = ""
    actions: list[Action] = [HandOver(event.group, is_taken=False)]
    if record.is_take_wanted or record.override_khz is not None:
        return actions + _take(record)
    return actions + need(inventory, [event.group])


def on_take_wanted(inventory: Inventory, event: events.TakeWanted) -> list[Action]:
    """The first vote for a group arrived."""
    record = inventory.groups[event.group]
    if record.stage is GroupStage.PREPARED:
        return _take(record)
    if record.stage in (GroupStage.TAKEN, GroupStage.FAILED):
        return [AnswerTake(event.group, is_taken=record.stage is GroupStage.TAKEN)]
    record.is_take_wanted = True
    if record.stage is GroupStage.IDLE:
        # The vote beat the event that its channel is open.
        record.stage = GroupStage.PREPARING
        return [PrepareGroup(event.group)]
    return []


def _take(record: GroupRecord) -> list[Action]:
    record.stage = GroupStage.TAKING
    record.is_take_wanted = False
    return [TakeGroup(record.group.number)]


def on_renewed(inventory: Inventory, event: events.GroupRenewed) -> list[Action]:
    """Somebody changed a group before we took it: the monitor must know, and then."""
    record = inventory.groups[event.group]
    if record.stage is not GroupStage.TAKING:
        return []
    record.group = dataclasses.replace(record.group, governor=event.governor)
    return [HandOver(event.group, is_taken=False), TakeGroup(event.group)]


def on_taken(inventory: Inventory, event: events.GroupTaken) -> list[Action]:
    """The governor is ours."""
    record = inventory.groups[event.group]
    record.stage = GroupStage.TAKEN
    record.reason = ""
    cpus = name_cpus(record.group.pcpus)
    return [
        AnswerTake(event.group, is_taken=True),
        Report(
            "group",
            f"took {cpus} from governor {record.group.governor}",
            facts={"group": event.group},
        ),
    ]


def on_failed(inventory: Inventory, event: events.GroupFailed) -> list[Action]:
    """The kernel refused; the vCPUs in the group become uncontrollable."""
    record = inventory.groups[event.group]
    was_held = record.stage in HELD_STAGES
    is_news = record.reason != event.reason
    record.stage = GroupStage.FAILED
    record.reason = event.reason
    record.is_take_wanted = False
    actions: list[Action] = [AnswerTake(event.group, is_taken=False)]
    if was_held:
        actions += [TakeBack(event.group), DropGroup(event.group)]
    if is_news:
        cpus = name_cpus(record.group.pcpus)
        actions.append(
            Report(
                "group",
                f"{cpus} cannot be controlled: {event.reason}",
                severity=Severity.ERROR,
                facts={"group": event.group},
            )
        )
    return actions


def on_yielded(inventory: Inventory, event: events.GroupYielded) -> list[Action]:
    """The monitor writes the group's clock no more: give it back."""
    record = inventory.groups[event.group]
    if record.stage is not GroupStage.TAKEN:
        return []
    record.stage = GroupStage.RESTORING
    return [RestoreGroup(event.group)]


def on_restored(inventory: Inventory, event: events.GroupRestored) -> list[Action]:
    """The group is as it was found."""
    record = inventory.groups[event.group]
    record.stage = GroupStage.PREPARED
    cpus = name_cpus(record.group.pcpus)
    actions: list[Action] = [
        ConfirmRelease(event.group),
        Report(
            "group",
            f"gave {cpus} back to governor {record.group.governor}",
            facts={"group": event.group},
        ),
    ]
    if record.is_take_wanted:
        return actions + _take(record)
    return actions + need(inventory, [event.group])


def on_write_refused(inventory: Inventory, event: events.WriteRefused) -> list[Action]:
    """The kernel refused a clock: perhaps a CPU went offline."""
    record = inventory.groups[event.group]
    cpus = name_cpus(record.group.pcpus)
    return [
        Report(
            "group",
            f"the kernel refused a clock of {cpus} (errno {event.errno})",
            severity=Severity.WARNING,
            facts={"group": event.group, "errno": event.errno},
        ),
        ReadTopology(),
    ]


def on_override_set(inventory: Inventory, event: events.OverrideSet) -> list[Action]:
    """The operator fixes a clock: take the group, whoever votes."""
    record = inventory.groups[event.group]
    record.override_khz = event.khz
    cpus = name_cpus(record.group.pcpus)
    actions: list[Action] = [
        Report(
            "operator",
            f"{cpus} fixed at {format_khz(event.khz)} by {event.by}",
            facts={"group": event.group, "khz": event.khz},
        ),
        *define(inventory, [event.group]),
    ]
    if record.stage is GroupStage.PREPARED:
        return actions + _take(record)
    if record.stage is GroupStage.RESTORING:
        record.is_take_wanted = True
    return actions + need(inventory, [event.group])


def on_override_released(
    inventory: Inventory, event: events.OverrideReleased
) -> list[Action]:
    """The operator gives a clock back."""
    record = inventory.groups[event.group]
    record.override_khz = None
    cpus = name_cpus(record.group.pcpus)
    return [
        Report(
            "operator",
            f"{cpus} released by {event.by}",
            facts={"group": event.group},
        ),
        *define(inventory, [event.group]),
        *need(inventory, [event.group]),
    ]
