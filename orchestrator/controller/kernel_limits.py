# SPDX-License-Identifier: Apache-2.0
"""The limits that a clock group is kept within, whether it is taken or not.

They are the host's bounds, for every group; the limits of the running domains that are
pinned into it; and the lowest step for a group that none uses, if the host wants that.
The kernel is made to hold them, so that they also apply while the group follows a
governor.

Several domains may share a group. No vCPU is slowed because of a neighbor, so the
highest of their upper limits counts, and the highest of their lower ones. An operator's
override is limited by the host alone.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from orchestrator.controller.actions import HoldLimits
from orchestrator.controller.group_lifecycle import GroupStage
from orchestrator.limits import NO_LIMITS, Window, held_limits, turbo_limit, window_of
from orchestrator.rights import is_limited
from orchestrator.values.domain_settings import Mode

if TYPE_CHECKING:
    from collections.abc import Iterable

    from orchestrator.controller.actions import Action
    from orchestrator.controller.inventory import Inventory
    from orchestrator.controller.records import DomainRecord, GroupRecord


def hold(inventory: Inventory, numbers: Iterable[int]) -> list[Action]:
    """Change the limits that groups are kept within, where they have changed."""
    actions: list[Action] = []
    for number in sorted(numbers):
        record = inventory.groups[number]
        if record.stage is GroupStage.FAILED:
            continue  # its vCPUs have no place; decided again when it is retried
        limits = held_limits(_window(inventory, record))
        if limits != record.held:
            record.held = limits
            actions.append(HoldLimits(number, limits))
    return actions


def is_used(record: GroupRecord) -> bool:
    """Return whether the kernel's limits of a group matter now."""
    return record.stage is not GroupStage.IDLE or record.held != NO_LIMITS


def _window(inventory: Inventory, record: GroupRecord) -> Window:
    steps = record.group.steps
    if inventory.config.mode is Mode.OBSERVE:
        return window_of(steps)
    host = window_of(steps, inventory.host_limits(steps))
    if record.override_khz is not None:
        return host
    if inventory.is_unused(record):
        return Window(steps, host.low_khz, host.low_khz)
    if not inventory.is_limited(record.group.number):
        return host
    number = record.group.number
    domains = _domains(inventory, number)
    windows = [_domain_window(inventory, domain, host) for domain in domains]
    if all(window is host for window in windows):
        return host
    low_khz = max(window.low_khz for window in windows)
    high_khz = max(window.high_khz for window in windows)
    has_vcpus = any(number in domain.groups() for domain in domains)
    # An upper limit is one of vCPUs; threads that follow them only have the lower one.
    if inventory.has_host_cpus(record) or not has_vcpus:
        high_khz = host.high_khz
    return Window(steps, low_khz, high_khz)


def _domain_window(inventory: Inventory, domain: DomainRecord, host: Window) -> Window:
    """Return the steps that a domain's vCPUs may have, the kernel's limits aside."""
    own = domain.rights(inventory.config)
    if not is_limited(own):
        return host
    turbo = turbo_limit(host.table, is_allowed=own.turbo.value)
    limits = inventory.host_limits(host.table)
    return window_of(host.table, limits, own.limits, turbo)


def _domains(inventory: Inventory, number: int) -> list[DomainRecord]:
    """Return the domains whose limits count: paused ones only if no other runs."""
    active = list(inventory.pinned_into(number))
    executing = [domain for domain in active if domain.spec.state.is_executing]
    return executing or active
