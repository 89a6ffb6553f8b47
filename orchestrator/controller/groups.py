# SPDX-License-Identifier: Apache-2.0
"""Clock groups: prepared when needed, taken when requested, restored at the end.

The stages of a group and the transitions between them are the table of
`group_lifecycle`; this module adds what else is done at each transition.
"""

from __future__ import annotations

import dataclasses
import errno
from typing import TYPE_CHECKING

from orchestrator.controller import kernel_limits
from orchestrator.controller.actions import (
    ReadTopology,
    Report,
    SaveState,
    Severity,
    VerifyGroups,
)
from orchestrator.controller.group_lifecycle import (
    MOVED_BY_NEED,
    GroupEvent,
    GroupStage,
)
from orchestrator.monitor.link.commands import (
    DefineGroup,
)
from orchestrator.values.cpuset import name_cpus
from orchestrator.values.units import format_khz

if TYPE_CHECKING:
    from collections.abc import Iterable

    from orchestrator import events
    from orchestrator.controller.actions import Action
    from orchestrator.controller.inventory import Inventory
    from orchestrator.controller.records import DomainRecord, GroupRecord


def define(inventory: Inventory, numbers: Iterable[int]) -> list[Action]:
    """Send the monitor the definitions that changed."""
    # A frequency is clamped to the kernel's limits, so they are changed first.
    actions = kernel_limits.hold(inventory, numbers)
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
        limits=inventory.group_limits(group.number).within(record.held),
        has_host_cpus=inventory.has_host_cpus(record),
        override_khz=record.override_khz,
    )


def need(
    inventory: Inventory, numbers: Iterable[int], changed: DomainRecord | None = None
) -> list[Action]:
    """Prepare groups that are needed, drop those that no longer are.

    Args:
        inventory: what exists.
        numbers: the groups.
        changed: the only domain that changed since the last decision about them; None:
            any may have. With it, the cost does not grow with the number of domains.
    """
    actions: list[Action] = []
    for number in sorted(numbers):
        record = inventory.groups.get(number)
        if record is None:
            continue
        if record.override_khz is not None or record.stage in MOVED_BY_NEED:
            actions += record.move(_need_of(inventory, record, changed))
    return actions


def _need_of(
    inventory: Inventory, record: GroupRecord, changed: DomainRecord | None
) -> GroupEvent:
    if not inventory.is_needed(record.group.number, changed):
        return GroupEvent.UNNEEDED
    is_overridden = record.override_khz is not None
    return GroupEvent.OVERRIDDEN if is_overridden else GroupEvent.NEEDED


def on_prepared(inventory: Inventory, event: events.GroupPrepared) -> list[Action]:
    """Take the group if that was requested in the meantime."""
    record = inventory.groups[event.group]
    record.reason = ""
    return record.move(GroupEvent.PREPARED) + need(inventory, [event.group])


def on_take_wanted(inventory: Inventory, event: events.TakeWanted) -> list[Action]:
    """Take a group: its first vote arrived."""
    record = inventory.groups.get(event.group)
    return record.move(GroupEvent.TAKE_WANTED) if record else []


def take(inventory: Inventory, number: int) -> list[Action]:
    """Take a group for a vote of which main knows before the monitor."""
    record = inventory.groups[number]
    return record.move(GroupEvent.NEEDED) + record.move(GroupEvent.TAKE_WANTED)


def on_renewed(inventory: Inventory, event: events.GroupRenewed) -> list[Action]:
    """Hand over a group whose original settings changed before it was taken."""
    record = inventory.groups[event.group]
    record.group = dataclasses.replace(record.group, governor=event.governor)
    return record.move(GroupEvent.RENEWED)


def on_taken(inventory: Inventory, event: events.GroupTaken) -> list[Action]:
    """Report that the group's governor was switched."""
    record = inventory.groups[event.group]
    record.reason = record.refused_errno = ""
    record.suspicion = None
    inventory.occurrences.takes += 1
    cpus = name_cpus(record.group.pcpus)
    taken = f"{cpus} taken from governor {record.group.governor}"
    return [*record.move(GroupEvent.TAKEN), _report(event.group, taken)]


def _report(
    group: int, text: str, severity: Severity = Severity.INFO, **facts: int
) -> Report:
    return Report("group", text, severity=severity, facts={"group": group, **facts})


def on_failed(inventory: Inventory, event: events.GroupFailed) -> list[Action]:
    """Give up a group that the kernel refused; its vCPUs become uncontrollable."""
    record = inventory.groups[event.group]
    is_news = record.reason != event.reason
    record.reason = event.reason
    actions = record.move(GroupEvent.FAILED)
    if is_news:
        cpus = name_cpus(record.group.pcpus)
        failed = f"{cpus} cannot be managed: {event.reason}"
        actions.append(_report(event.group, failed, Severity.ERROR))
    return actions


def on_yielded(inventory: Inventory, event: events.GroupYielded) -> list[Action]:
    """Restore a group: the monitor has stopped writing its frequency."""
    record = inventory.groups.get(event.group)
    return record.move(GroupEvent.YIELDED) if record else []


def on_restored(inventory: Inventory, event: events.GroupRestored) -> list[Action]:
    """Report a restored group, and take it again if that was requested."""
    record = inventory.groups[event.group]
    inventory.occurrences.restores += 1
    cpus = name_cpus(record.group.pcpus)
    restored = f"{cpus} restored to governor {record.group.governor}"
    return [
        *record.move(GroupEvent.RESTORED),
        _report(event.group, restored),
        *need(inventory, [event.group]),
    ]


def retry_failed(inventory: Inventory) -> bool:
    """Allow groups to be prepared again that the kernel refused; True if any."""
    failed = [r for r in inventory.groups.values() if r.stage is GroupStage.FAILED]
    for record in failed:
        record.move(GroupEvent.RETRIED)
    return bool(failed)


def define_all(inventory: Inventory) -> list[Action]:
    """Send a new monitor every group, and hand over those that are held."""
    actions: list[Action] = []
    for record in inventory.groups.values():
        if record.sent is not None:
            actions.append(record.sent)
        actions += record.move(GroupEvent.MONITOR_STARTED)
    return actions


def on_write_refused(inventory: Inventory, event: events.WriteRefused) -> list[Action]:
    """Read the CPUs again: one may have gone offline, or lost our governor."""
    record = inventory.groups.get(event.group)
    if record is None:
        return []
    cpus = name_cpus(record.group.pcpus)
    name = errno.errorcode.get(event.errno, str(event.errno))
    record.refused_errno = name
    refused = f"the kernel refused a frequency of {cpus} ({name})"
    return [
        _report(event.group, refused, Severity.WARNING, errno=event.errno),
        ReadTopology(),
        VerifyGroups((event.group,)),
    ]


def on_driver_replaced(
    _inventory: Inventory, _event: events.DriverReplaced
) -> list[Action]:
    """Read the CPUs again: the mechanism and the steps may be others."""
    return [ReadTopology()]


def replace(record: GroupRecord) -> list[Action]:
    """Prepare a group again, with the originals and the mechanism that it has now."""
    cpus, group = name_cpus(record.group.pcpus), record.group
    text = f"{cpus}: the kernel replaced the scaling driver; it is now {group.driver}"
    record.drift = record.reason = record.refused_errno = ""
    record.suspicion = None
    return [_report(group.number, text), *record.move(GroupEvent.REPLACED)]


def on_override_set(inventory: Inventory, event: events.OverrideSet) -> list[Action]:
    """Fix a group at a frequency: take it, whatever the votes."""
    record = inventory.groups[event.group]
    return override(inventory, record, event.khz, event.by)


def override(
    inventory: Inventory,
    record: GroupRecord,
    khz: int,
    by: str,
    *,
    is_resumed: bool = False,
) -> list[Action]:
    """Fix a group at a frequency.

    Args:
        inventory: what exists.
        record: the group.
        khz: a step within the host's limits.
        by: who set it.
        is_resumed: whether it was set before the daemon was restarted.
    """
    record.override_khz = khz
    record.override_by = by
    number, cpus = record.group.number, name_cpus(record.group.pcpus)
    verb = "remains fixed" if is_resumed else "fixed"
    text = f"{cpus} {verb} at {format_khz(khz)}{', as set' * is_resumed} by {by}"
    return [
        Report("operator", text, facts={"group": number, "khz": khz}),
        *define(inventory, [number]),
        *need(inventory, [number]),
        SaveState(),
    ]


def on_override_released(
    inventory: Inventory, event: events.OverrideReleased
) -> list[Action]:
    """End an override: votes count again."""
    record = inventory.groups[event.group]
    record.override_khz = None
    record.override_by = ""
    cpus = name_cpus(record.group.pcpus)
    return [
        Report(
            "operator",
            f"{cpus} released by {event.by}",
            facts={"group": event.group},
        ),
        *define(inventory, [event.group]),
        *need(inventory, [event.group]),
        SaveState(),
    ]
