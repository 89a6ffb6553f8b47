# SPDX-License-Identifier: Apache-2.0
"""Policies that were in effect before a restart of the daemon or a move of the domain.

Each is installed again, or its end is reported with the cause.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from orchestrator.controller.actions import Report, ResumePolicy, Severity
from orchestrator.errors import ConfigError
from orchestrator.values.refusal import Permission

if TYPE_CHECKING:
    from orchestrator.controller.actions import Action
    from orchestrator.controller.inventory import Inventory
    from orchestrator.controller.records import DomainRecord
    from orchestrator.policy.subject import PolicyOrder
    from orchestrator.saved.state import SavedPolicy


def resume(
    inventory: Inventory,
    record: DomainRecord,
    saved: SavedPolicy,
    obstacle: str = "",
    *,
    occasion: str = "",
) -> Action:
    """Install a policy of a domain again, if nothing prevents it.

    Args:
        inventory: with the configuration.
        record: the domain.
        saved: the policy.
        obstacle: what prevents it, if that is known already.
        occasion: what the report of its end begins with.
    """
    order = _order(inventory, record, saved, obstacle)
    if isinstance(order, str):
        return report_ended(record.spec.name, saved, f"{occasion}{order}")
    return ResumePolicy(record.spec.uuid, saved.source, order)


def _order(
    inventory: Inventory, record: DomainRecord, saved: SavedPolicy, obstacle: str
) -> PolicyOrder | str:
    if obstacle:
        return obstacle
    permissions = record.rights(inventory.config).permissions
    if saved.is_of_guest and Permission.GUEST_POLICIES not in permissions:
        return "the domain may not send policies"
    try:
        return saved.order(record.spec.uuid)
    except ConfigError as error:
        return str(error)


def report_ended(name: str, saved: SavedPolicy, cause: str) -> Report:
    """Report that a policy of a domain is not installed again."""
    return Report(
        "policy",
        f"policy of {saved.source} ended: {cause}",
        domain=name,
        severity=Severity.WARNING,
        facts={"source": str(saved.source)},
    )
