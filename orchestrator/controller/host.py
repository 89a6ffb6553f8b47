# SPDX-License-Identifier: Apache-2.0
"""The host as a whole: its CPUs, its configuration, a new monitor.

A change of any of these affects every domain and every clock group.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

from orchestrator.controller import (
    attributes,
    channels,
    domains,
    drift,
    groups,
    idle_cpus,
    onboarding,
    p_states,
    setting_changes,
)
from orchestrator.controller.actions import (
    HoldLimits,
    ReadTopology,
    Report,
    Severity,
)
from orchestrator.controller.group_lifecycle import GroupStage
from orchestrator.controller.records import GroupRecord
from orchestrator.limits import NO_LIMITS, UNLIMITED_KHZ, Limits
from orchestrator.values.cpuset import name_cpus
from orchestrator.values.units import format_khz

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from orchestrator import events
    from orchestrator.controller.actions import Action
    from orchestrator.controller.inventory import Inventory
    from orchestrator.power.kernel_limits import KernelLimits
    from orchestrator.values.domain import PCpu


def on_topology(inventory: Inventory, event: events.TopologyRead) -> list[Action]:
    """Compare the CPUs with those known, and place every vCPU again."""
    old, new = inventory.topology, event.topology
    if new == old and inventory.groups:
        return []
    inventory.topology = new
    actions = _report_unmanaged(old.unmanaged, new.unmanaged)
    for group in new.groups:
        record = inventory.groups.setdefault(group.number, GroupRecord(group))
        if record.group.identity != group.identity:
            record.group = group
            actions += groups.replace(record)
        elif record.stage in (GroupStage.IDLE, GroupStage.FAILED):
            record.group = group
        else:
            record.group = dataclasses.replace(record.group, steps=group.steps)
    present = {group.number for group in new.groups}
    # A group that we hold stays known while its CPUs are offline.
    for number in [n for n in inventory.groups if n not in present]:
        if inventory.groups[number].stage is GroupStage.IDLE:
            if inventory.groups[number].held != NO_LIMITS:
                actions.append(HoldLimits(number, NO_LIMITS))
            del inventory.groups[number]
    actions += drift.reapply(inventory, new.online ^ old.online)
    return actions + replace_all(inventory)


def on_kernel_limits(
    inventory: Inventory, event: events.KernelLimitsRead
) -> list[Action]:
    """Apply limits that the kernel has now, and report what has changed."""
    news: dict[tuple[str, Severity], set[PCpu]] = {}
    changed: set[int] = set()
    is_turbo_switched = False
    for number, new in event.limits.items():
        record = inventory.groups.get(number)
        if record is None:
            continue
        old, record.kernel = record.kernel, new
        if (new.limits, new.is_boost_off) != (old.limits, old.is_boost_off):
            changed.add(number)
        is_turbo_switched |= new.is_boost_off != old.is_boost_off
        for item in _news(old, new):
            news.setdefault(item, set()).update(record.group.pcpus)
    actions: list[Action] = [
        Report("cpus", f"{name_cpus(pcpus)}: {text}", severity=severity)
        for (text, severity), pcpus in news.items()
    ]
    if is_turbo_switched:
        # Drivers with a range of frequencies have another highest one now.
        actions.append(ReadTopology())
    actions += groups.define(inventory, changed)
    for number in sorted(changed):
        actions += replace_pinned(inventory, number)
    return actions


def _news(old: KernelLimits, new: KernelLimits) -> Iterator[tuple[str, Severity]]:
    if new.limits != old.limits:
        low, high = map(format_khz, new.limits)
        yield f"the kernel's own limits are now {low} to {high}", Severity.INFO
    if new.is_boost_off != old.is_boost_off:
        switched = "off" if new.is_boost_off else "on"
        switch = new.turbo_switch or old.turbo_switch
        yield f"turbo is {switched} in the kernel ({switch})", Severity.INFO
    if new.held != old.held:
        yield _describe_held(new.held), Severity.INFO
    if new.problem and new.problem != old.problem:
        yield f"frequency limits not set: {new.problem}", Severity.ERROR


def _describe_held(held: Limits) -> str:
    if held == NO_LIMITS:
        return "the kernel's limits were restored"
    parts = [f"at least {format_khz(held.min_khz)}"] if held.min_khz else []
    if held.max_khz < UNLIMITED_KHZ:
        parts.append(f"at most {format_khz(held.max_khz)}")
    return f"limited: {', '.join(parts)}"


def _report_unmanaged(old: Mapping[PCpu, str], new: Mapping[PCpu, str]) -> list[Action]:
    by_reason: dict[str, set[PCpu]] = {}
    for pcpu, reason in new.items():
        if old.get(pcpu) != reason:
            by_reason.setdefault(reason, set()).add(pcpu)
    return [
        Report(
            "cpus",
            f"{name_cpus(pcpus)} not managed: {reason}",
            severity=Severity.WARNING,
        )
        for reason, pcpus in by_reason.items()
    ]


def replace_all(inventory: Inventory) -> list[Action]:
    """Place every vCPU again."""
    actions = groups.define(inventory, inventory.groups)
    actions += attributes.hold_for_host(inventory)
    for record in inventory.domains.values():
        actions += domains.replace_vcpus(inventory, record)
    return actions


def replace_pinned(inventory: Inventory, group: int) -> list[Action]:
    """Place the vCPUs again that are pinned into one group."""
    actions: list[Action] = []
    for record in list(inventory.pinned_into(group)):
        actions += domains.replace_vcpus(inventory, record, [group])
    return actions


def retry_failed(inventory: Inventory) -> list[Action]:
    """Retry the groups that the kernel refused."""
    return replace_all(inventory) if groups.retry_failed(inventory) else []


def on_config(inventory: Inventory, event: events.ConfigReloaded) -> list[Action]:
    """Apply a new configuration: limits, mode, rules."""
    old, inventory.config = inventory.config, event.config
    if event.config.host != old.host:
        idle_cpus.on_config(inventory)
    onboarding.reset_attempts(inventory)
    actions: list[Action] = [
        setting_changes.report_config(old, event.config),
        ReadTopology(),
        *replace_all(inventory),
    ]
    for record in inventory.domains.values():
        actions += setting_changes.report_rights(
            (old, record.spec), (event.config, record.spec)
        )
        actions += onboarding.review(inventory, record)
        actions += p_states.review(inventory, record)
    return actions


def on_monitor_started(
    inventory: Inventory, _event: events.MonitorStarted
) -> list[Action]:
    """Send a new monitor everything; votes and grants are in the shared table."""
    inventory.is_monitor_up = True
    actions = groups.define_all(inventory)
    domains = inventory.domains.values()
    actions += [domain.sent for domain in domains if domain.sent is not None]
    return actions + channels.connect_all(inventory)
