# SPDX-License-Identifier: Apache-2.0
"""P-state tables of running guests that are older than a pinning or a limit."""

from __future__ import annotations

from typing import TYPE_CHECKING

from orchestrator.limits import turbo_limit
from orchestrator.onboarding.p_states import cut_table
from orchestrator.values.cpuset import name_all

if TYPE_CHECKING:
    from collections.abc import Iterator

    from orchestrator.controller.inventory import Inventory
    from orchestrator.controller.records import DomainRecord, Placement
    from orchestrator.values.frequencies import FrequencyTable


def find_gaps(inventory: Inventory, record: DomainRecord) -> Iterator[str]:
    """Yield which vCPUs of a running domain have such a table, in one sentence."""
    p_states = record.spec.p_states
    if p_states is None or not record.spec.state.is_active:
        return
    tables = dict(enumerate(p_states.tables))
    outdated = [
        int(vcpu)
        for vcpu, place in record.placements.items()
        if _is_outdated(inventory, record, place, tables.get(int(vcpu)))
    ]
    if outdated:
        yield (
            f"{name_all('vCPU', outdated)}: the guest has the P-state table of an"
            " earlier pinning or limit; what it requests is granted as the nearest"
            " step at or above, until 'vmpower domain onboard --p-states' and a cold"
            " start give it another table"
        )


def _is_outdated(
    inventory: Inventory,
    record: DomainRecord,
    place: Placement,
    table: FrequencyTable | None,
) -> bool:
    """Return whether a vCPU would be given another table now.

    The kernel's own limits do not count: they come and go. One without a clock group
    would be given none, which its own warning says.
    """
    if place.group is None or place.group not in inventory.groups:
        return False
    steps = inventory.groups[place.group].group.steps
    rights = record.rights(inventory.config)
    turbo = turbo_limit(steps, is_allowed=rights.turbo.value)
    limits = inventory.host_limits(steps), rights.limits, turbo
    now = cut_table(steps, *limits)
    if now is None or table is None:
        return now is not table
    # A table that was too long for a byte lacks steps between its ends.
    has_same_ends = (table.khz[0], table.khz[-1]) == (now.khz[0], now.khz[-1])
    return not (has_same_ends and set(table.khz) <= set(now.khz))
