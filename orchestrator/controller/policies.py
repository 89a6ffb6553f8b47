"""Guests' policies: every one is refused, and people are told.

Synchronization: none required, nothing is kept.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from orchestrator.actions import AnswerPolicy, Report

if TYPE_CHECKING:
    from orchestrator import events
    from orchestrator.actions import Action
    from orchestrator.inventory import Inventory


def on_sent(inventory: Inventory, event: events.PolicySent) -> list[Action]:
    """Refuse it: the guest goes on with requests of its own."""
    record = inventory.domains.get(event.uuid)
    return [
        AnswerPolicy(event.uuid, event.number, event.ticket, is_accepted=False),
        Report(
            "policy",
            f"channel {event.number}: the guest's policy was refused",
            domain=record.spec.name if record else event.uuid,
            facts={"number": event.number},
        ),
    ]


def on_removed(_inventory: Inventory, _event: events.PolicyRemoved) -> list[Action]:
    """There is none that could be removed."""
    return []
