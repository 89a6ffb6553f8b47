# SPDX-License-Identifier: Apache-2.0
"""The attributes of the kernel that are held, as the status document shows them.

Synchronization: the asyncio thread only; nothing is read from the kernel.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from orchestrator.control import models
from orchestrator.controller.attributes import (
    is_other_switch,
    is_pinned,
    own_attributes,
)
from orchestrator.power.attribute_kinds import (
    ENERGY_PREFERENCE,
    IDLE_LATENCY,
    kind_of,
    name_attributes,
)
from orchestrator.power.attribute_state import Outcome
from orchestrator.power.idle_states import parse_latency
from orchestrator.values.cpuset import name_all

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from orchestrator.controller.inventory import Inventory
    from orchestrator.controller.records import DomainRecord, Placement


def list_settings(inventory: Inventory) -> Iterator[models.KernelSetting]:
    """Yield all attributes that are held or were to be, alike ones together."""
    alike: dict[tuple[object, ...], list[str]] = {}
    for path, state in sorted(inventory.attributes.items()):
        kind = kind_of(path)
        alike.setdefault((kind, state.outcome, state.value), []).append(path)
    for paths in alike.values():
        state = inventory.attributes[paths[0]]
        if state.outcome is Outcome.ABSENT and is_other_switch(inventory, paths[0]):
            continue
        shown = kind_of(paths[0]).show(state.value)
        yield models.KernelSetting(
            name=name_attributes(paths),
            value=shown or None,
            outcome=state.outcome,
            problem=state.problem or None,
        )


def preference_of(inventory: Inventory, group: int) -> str | None:
    """Return the energy preference of a clock group, if one is wanted."""
    state = inventory.attributes.get(ENERGY_PREFERENCE.path_of(group))
    return (state.value or None) if state else None


def latency_of(inventory: Inventory, pcpu: int) -> int | None:
    """Return the limit of a CPU's wake-up latency, in us; None: not limited."""
    state = inventory.attributes.get(IDLE_LATENCY.path_of(pcpu))
    latency_us = parse_latency(state.value) if state else None
    return None if latency_us in (None, float("inf")) else int(latency_us or 0)


def idle_states_of(
    inventory: Inventory, placement: Placement
) -> tuple[str, ...] | None:
    """Return the idle states that all CPUs of a vCPU may enter; None: not limited."""
    if not placement.pcpus:  # they are offline
        return None
    limited = [
        inventory.attributes[path].effect
        for path in map(IDLE_LATENCY.path_of, sorted(placement.pcpus))
        if path in inventory.attributes
    ]
    if len(limited) < len(placement.pcpus) or not all(limited):
        return None
    return tuple(_common(limited))


def find_gaps(inventory: Inventory, record: DomainRecord) -> Iterator[str]:
    """Yield where what is wanted for a running domain does not hold, by sentence.

    What the host wants for every domain is none of the domain's concern.
    """
    rights = record.rights(inventory.config)
    if not rights.is_enforced or not record.spec.state.is_executing:
        return
    own = [
        (int(vcpu), placement, own_attributes(inventory, record, placement))
        for vcpu, placement in record.placements.items()
    ]
    unpinned = {
        vcpu
        for vcpu, placement, wanted in own
        if wanted.idle_latency_us is not None and not is_pinned(inventory, placement)
    }
    if unpinned:
        vcpus = name_all("vCPU", unpinned)
        yield f"the idle latency does not hold for {vcpus}: not pinned"
    preferring = [it for it in own if it[2].epp is not None]
    if floating := {vcpu for vcpu, it, _ in preferring if not it.groups}:
        vcpus = name_all("vCPU", floating)
        yield (
            f"the energy preference does not hold for {vcpus}: not pinned into one"
            " clock group"
        )
    used = {group for _, placement, _ in preferring for group in placement.groups}
    if shared := {group for group in used if not _is_wanted(inventory, group)}:
        groups = name_all("clock group", shared)
        yield (
            f"the energy preference does not hold in {groups}: a vCPU without one or"
            " the host uses it, too"
        )


def _is_wanted(inventory: Inventory, group: int) -> bool:
    return ENERGY_PREFERENCE.path_of(group) in inventory.wanted_attributes


def _common(lists: list[tuple[str, ...]]) -> Iterable[str]:
    return (name for name in lists[0] if all(name in it for it in lists))
