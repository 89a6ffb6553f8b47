# SPDX-License-Identifier: Apache-2.0
"""CPUs that no domain uses: `[host] idle_cpus` can keep them at their lowest step.

A clock group is unused if no vCPU of an active domain may run on one of its CPUs, no
emulator or I/O thread is pinned to one, and none is the host's (`[host] own_cpus`). A
vCPU that may run everywhere therefore uses every CPU; an emulator thread that is not
pinned uses none.

All CPUs count as used until every domain that existed when the daemon started is known,
so that a restart of the daemon slows no guest.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from orchestrator.config import IdleCpus
from orchestrator.controller import groups

if TYPE_CHECKING:
    from orchestrator.controller.actions import Action
    from orchestrator.controller.inventory import Inventory


def on_all_known(inventory: Inventory) -> list[Action]:
    """Limit unused groups, once, as soon as every domain is known."""
    listed = inventory.first_listed
    if inventory.is_every_domain_known or listed is None:
        return []
    if not listed <= inventory.domains.keys():
        return []
    inventory.is_every_domain_known = True
    if inventory.config.host.idle_cpus is IdleCpus.LEAVE:
        return []
    return groups.define(inventory, inventory.groups)


def on_config(inventory: Inventory) -> None:
    """Find out which CPUs domains use, before their groups are defined again."""
    for record in inventory.domains.values():
        inventory.place_all(record)
