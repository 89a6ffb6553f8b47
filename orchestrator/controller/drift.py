# SPDX-License-Identifier: Apache-2.0
"""Drift: another program changes a clock group that is taken.

What the kernel runs is read at intervals, after a refused write, and when CPUs are
switched; it is never only remembered. A group that has drifted is left as it is until
the operator retakes it (`power.drift = "yield"`), or is taken back a few times before
that (`"retake"`): otherwise two programs could take a CPU from each other without end.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from orchestrator.config import DriftResponse
from orchestrator.controller import kernel_limits
from orchestrator.controller.actions import (
    ReadKernelLimits,
    ReadTopology,
    RefreshAttributes,
    Report,
    Severity,
    VerifyGroups,
)
from orchestrator.controller.group_lifecycle import GroupEvent, GroupStage
from orchestrator.values.cpuset import format_cpulist, name_cpus
from orchestrator.values.refusal import Refusal

if TYPE_CHECKING:
    from orchestrator import events
    from orchestrator.controller.actions import Action
    from orchestrator.controller.inventory import Inventory
    from orchestrator.controller.records import GroupRecord
    from orchestrator.values.domain import PCpu

CONFIRM_AFTER_S = 0.5
"""Notifications of the kernel are processed within milliseconds."""
MAX_RETAKES = 3
RETAKES_WITHIN_S = 60.0
"""A group that drifts more often than `MAX_RETAKES` times within this is left."""


def on_verification_due(
    inventory: Inventory, _event: events.VerificationDue
) -> list[Action]:
    """Verify all taken groups, and the limits of all that are in use."""
    groups = inventory.groups
    taken = [n for n, it in groups.items() if it.stage is GroupStage.TAKEN]
    actions: list[Action] = [VerifyGroups(tuple(taken))] if taken else []
    used = [n for n, it in groups.items() if kernel_limits.is_used(it)]
    return [*actions, ReadKernelLimits(tuple(used))] if used else actions


def on_cpus_switched(inventory: Inventory, event: events.CpusSwitched) -> list[Action]:
    """Write frequencies again that CPUs may have lost, and read the CPUs again."""
    # All of them: one that was not completely online may have been read before.
    return [*reapply(inventory, event.pcpus), ReadTopology(), RefreshAttributes()]


def reapply(inventory: Inventory, switched: frozenset[PCpu] | None) -> list[Action]:
    """Write the frequencies of CPUs again; of all if `switched` is None.

    A CPU that was offline comes back with the userspace governor, but without the
    granted frequency (measured with acpi-cpufreq). While it is offline the write is
    refused, and so are requests.
    """
    actions: list[Action] = []
    for record in inventory.groups.values():
        if switched is None or record.group.pcpus & switched:
            record.refused_errno, record.suspicion = "", None
            actions += record.move(GroupEvent.CPU_SWITCHED)
    return actions


def on_drifted(inventory: Inventory, event: events.GroupDrifted) -> list[Action]:
    """Leave the group to the other program, or take it back.

    A difference must be read twice: the first one may be a frequency that the monitor
    is just writing, or a CPU of whose return the kernel has not notified us yet.
    """
    record = inventory.groups.get(event.group)
    if record is None or record.stage is not GroupStage.TAKEN:
        return []
    first = record.suspicion
    if first is None or (first.change, first.writes) != (event.change, event.writes):
        record.suspicion = event
        return [VerifyGroups((event.group,), CONFIRM_AFTER_S)]
    if event.at_s - first.at_s < CONFIRM_AFTER_S:
        return []
    record.suspicion = None
    inventory.occurrences.drifts += 1
    cpus = name_cpus(record.group.pcpus)
    what = f"{event.change} by another program"
    if event.suspects:
        what += f", perhaps {' or '.join(event.suspects)}"
    if _may_retake(inventory, record, event.at_s):
        text = f"{cpus}: {what}; taking it back"
        actions = record.move(GroupEvent.RETAKEN)
    else:
        record.drift = what
        text = f"{cpus}: {what}; left as it is, until '{retake_command(record)}'"
        actions = record.move(GroupEvent.DRIFTED)
    facts: dict[str, int | str] = {"group": event.group, "change": event.change}
    return [Report("drift", text, severity=Severity.WARNING, facts=facts), *actions]


def _may_retake(inventory: Inventory, record: GroupRecord, at_s: float) -> bool:
    if inventory.config.power.drift is not DriftResponse.RETAKE:
        return False
    recent = [it for it in record.retaken_at_s if at_s - it < RETAKES_WITHIN_S]
    record.retaken_at_s = [*recent, at_s]
    return len(recent) < MAX_RETAKES


def retake_command(record: GroupRecord) -> str:
    """Return the command that takes a group back."""
    return f"vmpower cpu retake {format_cpulist(record.group.pcpus)}"


def on_retaken(inventory: Inventory, event: events.GroupRetaken) -> list[Action]:
    """Take a group back for the operator."""
    record = inventory.groups.get(event.group)
    if record is None or record.stage is not GroupStage.DRIFTED:
        return []
    for domain in inventory.pinned_into(event.group):
        for channel in domain.channels.values():
            channel.refusals.pop(Refusal.CLAIM, None)
    text = f"{name_cpus(record.group.pcpus)} retaken by {event.by}"
    return [
        Report("operator", text, facts={"group": event.group}),
        *record.move(GroupEvent.RETAKEN),
    ]


def explain(record: GroupRecord) -> str:
    """Return why a group that has drifted is not set; empty if it has not."""
    if record.stage is not GroupStage.DRIFTED:
        return ""
    return f"{record.drift}; '{retake_command(record)}' takes it back"
