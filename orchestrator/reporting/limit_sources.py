# SPDX-License-Identifier: Apache-2.0
"""Which source sets the lowest and the highest step of a vCPU."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from orchestrator.limits import Limits, turbo_limit, window_of
from orchestrator.rights import HOST

if TYPE_CHECKING:
    from collections.abc import Iterator

    from orchestrator.controller.inventory import Inventory
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
