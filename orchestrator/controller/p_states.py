# SPDX-License-Identifier: Apache-2.0
"""P-states by rules: has them made for definitions, and again after a change.

Theory of operation: making them is idempotent, so nothing is compared here but what
they depend on: the pinning, the limits, the steps of the clock groups, and whether the
definition has any. If none of these has changed since the last attempt, whether it
succeeded or not, there is nothing to do. A rule never removes them: a guest that is
started relies on what its last start had.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from orchestrator.controller.actions import (
    DescribeDomain,
    MakePStates,
    Report,
    Severity,
)
from orchestrator.controller.onboarding import find_rule
from orchestrator.values.cpuset import name_all

if TYPE_CHECKING:
    from orchestrator import events
    from orchestrator.controller.actions import Action
    from orchestrator.controller.inventory import Inventory
    from orchestrator.controller.records import DomainRecord


def review(inventory: Inventory, record: DomainRecord) -> list[Action]:
    """Decide whether P-states of a domain are to be made now."""
    state, spec = record.p_states, record.spec
    rule = find_rule(inventory.config, spec)
    if rule is None or not rule.p_states or spec.definition is None:
        state.basis, state.problem = None, ""
        return []
    basis = _basis_of(inventory, record)
    if state.is_under_way or basis == state.basis:
        return []
    state.basis, state.is_under_way = basis, True
    return [MakePStates(spec.uuid, inventory.config)]


def on_made(inventory: Inventory, event: events.PStatesMade) -> list[Action]:
    """Report what has changed, or why it failed: once for each reason."""
    record = inventory.domains.get(event.uuid)
    if record is None:
        return []
    state, before = record.p_states, record.p_states.problem
    state.is_under_way = False
    if not event.is_final:
        state.basis = None  # again with the next description
        return []
    state.problem = f"P-states: {event.failure}" if event.failure else ""
    if event.failure:
        is_news = state.problem != before
        return [_report(record, event.failure, Severity.WARNING)] if is_news else []
    if not event.is_changed:
        return []
    text = (
        f"P-states of {name_all('vCPU', event.vcpus)} added to its definition, for its"
        " next start"
    )
    # Others may have changed what they depend on while they were made.
    return [_report(record, text, Severity.INFO), DescribeDomain(event.uuid)]


def _basis_of(inventory: Inventory, record: DomainRecord) -> tuple[object, ...]:
    """Return what the P-states of a domain depend on."""
    config, spec = inventory.config, record.spec
    rights = record.rights(config)
    groups = (inventory.groups[number] for number in sorted(record.groups()))
    return (
        spec.has_next_p_states,
        spec.vcpus,
        rights.limits,
        rights.turbo.value,
        config.bounds,
        config.p_states,
        tuple(group.group.steps for group in groups),
    )


def _report(record: DomainRecord, text: str, severity: Severity) -> Report:
    return Report("onboarding", text, domain=record.spec.name, severity=severity)
