# SPDX-License-Identifier: Apache-2.0
"""Which source sets the limits of a vCPU, and where its domain's limits do not hold."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from orchestrator.limits import NO_LIMITS, Limits, turbo_limit, window_of
from orchestrator.rights import HOST, resolve_rights
from orchestrator.values.cpuset import name_all

if TYPE_CHECKING:
    from collections.abc import Iterator

    from orchestrator.controller.inventory import Inventory
    from orchestrator.controller.records import DomainRecord
    from orchestrator.rights import Rights

HARDWARE, KERNEL = "hardware", "kernel"


class LimitSources(NamedTuple):
    """The sources of a vCPU's effective limits."""

    lowest: str
    highest: str


def find_sources(inventory: Inventory, rights: Rights, number: int) -> LimitSources:
    """Return the sources of the limits of a domain's vCPUs in a clock group.

    Of several that set the same step, it is the one of the highest precedence.
    """
    steps = inventory.groups[number].group.steps
    low_khz, high_khz = steps.lowest_khz, steps.highest_khz
    lowest = highest = HARDWARE
    for source, limits in _candidates(inventory, rights, number):
        window = window_of(steps, limits)
        if window.high_khz < high_khz:
            high_khz, highest = window.high_khz, source
        if window.low_khz > low_khz:
            low_khz, lowest = window.low_khz, source
    # A lower limit that an upper one contradicts is not in effect.
    return LimitSources(lowest if low_khz <= high_khz else highest, highest)


def find_gaps(inventory: Inventory, record: DomainRecord) -> Iterator[str]:
    """Yield where limits of a running domain do not hold, one sentence each."""
    rights = resolve_rights(inventory.config, record.spec)
    is_unlimited = rights.limits == NO_LIMITS and rights.turbo.value
    if is_unlimited or not rights.is_enforced or not record.spec.state.is_active:
        return
    floating, shared = set(), set()
    for vcpu, placement in record.placements.items():
        if placement.group is None:
            floating.add(int(vcpu))
        elif _is_exceeded(inventory, rights, placement.group):
            shared.add(int(vcpu))
    if floating:
        vcpus = name_all("vCPU", floating)
        yield f"limits do not hold for {vcpus}: not pinned into one clock group"
    if shared:
        vcpus = name_all("vCPU", shared)
        yield (
            f"the upper limit does not hold for {vcpus}: other domains or the host use"
            " the same clock group"
        )


def _is_exceeded(inventory: Inventory, rights: Rights, number: int) -> bool:
    """Whether a group may have a higher frequency than a vCPU in it."""
    if inventory.groups[number].override_khz is not None:
        return False  # shown as such
    own = inventory.vcpu_window(rights, number).high_khz
    return inventory.held_window(number).high_khz > own


def _candidates(
    inventory: Inventory, rights: Rights, number: int
) -> Iterator[tuple[str, Limits]]:
    record, bounds = inventory.groups[number], inventory.config.bounds
    steps, kernel = record.group.steps, record.kernel
    low, high, turbo = rights["min_khz"], rights["max_khz"], rights.turbo
    yield HOST, Limits.of(bounds.min_khz, bounds.max_khz)
    yield KERNEL, kernel.limits
    boost = turbo_limit(steps, is_allowed=not kernel.is_boost_off)
    yield f"turbo off ({KERNEL})", boost
    yield low.source, Limits.of(low.value, None)
    yield high.source, Limits.of(None, high.value)
    right = turbo_limit(steps, is_allowed=turbo.value)
    yield f"turbo off ({turbo.source})", right
