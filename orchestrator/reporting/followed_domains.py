# SPDX-License-Identifier: Apache-2.0
"""Domains whose vCPUs the clock groups of their emulator and I/O threads follow."""

from __future__ import annotations

from typing import TYPE_CHECKING

from orchestrator.control import models
from orchestrator.controller.group_lifecycle import GroupStage
from orchestrator.values.domain_settings import ThreadFrequency

if TYPE_CHECKING:
    from collections.abc import Iterator

    from orchestrator.controller.inventory import Inventory
    from orchestrator.controller.records import DomainRecord, GroupRecord
    from orchestrator.monitor.client.views import MonitorSnapshot

_HIGHEST = float("inf")
"""A vCPU without a vote requests the highest step of any clock group."""


def list_followed(
    inventory: Inventory, monitor: MonitorSnapshot, record: GroupRecord
) -> Iterator[models.Followed]:
    """Yield the domains that a clock group follows."""
    number = record.group.number
    domains = sorted(inventory.pinned_into(number), key=lambda it: it.spec.name)
    is_granted = (
        record.stage is GroupStage.TAKEN
        and record.override_khz is None
        and not (record.sent and record.sent.has_host_cpus)
    )
    own = max((_requested(monitor, it, number) for it in domains), default=0)
    following = [it for it in domains if number in it.following()]
    highest = max((_requested(monitor, it) for it in following), default=0)
    for domain in following:
        threads = (it.name for it in domain.threads if number in it.groups)
        yield models.Followed(
            domain=domain.spec.name,
            threads=tuple(threads),
            decides=is_granted and own < highest == _requested(monitor, domain),
        )


def _requested(
    monitor: MonitorSnapshot, domain: DomainRecord, number: int | None = None
) -> float:
    """Return the highest frequency that a domain requests.

    Args:
        monitor: what the monitor has written.
        domain: the domain; one that does not execute requests nothing.
        number: only for vCPUs in this clock group; None: in any.
    """
    if not domain.spec.state.is_executing:
        return 0
    requested = [
        monitor.requested_khz.get((domain.spec.uuid, int(vcpu))) or _HIGHEST
        for vcpu, placement in domain.placements.items()
        if placement.groups and number in (None, *placement.groups)
    ]
    # As in the arbiter: a domain whose vCPUs all float is not waited for.
    return max(requested, default=0 if number is not None else _HIGHEST)


def find_gaps(inventory: Inventory, record: DomainRecord) -> Iterator[str]:
    """Yield which threads of a running domain do not follow, one sentence each."""
    rights = record.rights(inventory.config)
    is_following = rights["emulator"].value is ThreadFrequency.FOLLOW
    if not rights.is_enforced or not is_following or not record.spec.state.is_active:
        return
    if not record.spec.threads:
        yield "no emulator or I/O thread follows the vCPUs: none is pinned"
    for thread in record.threads:
        if not thread.groups:
            yield f"{thread.name} does not follow the vCPUs: {thread.reason}"
