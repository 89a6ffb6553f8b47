# SPDX-License-Identifier: Apache-2.0
"""Checks an operator's policy against the domain that it is for.

What the domain does not have at all is an error. What may change while the policy is
set, such as pinning, is a warning: the policy takes effect then.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from orchestrator.controller.attributes import is_pinned
from orchestrator.errors import ControlError
from orchestrator.policy.kinds.contract import Concern
from orchestrator.rights import HOST, resolve_rights
from orchestrator.values.cpuset import format_cpulist
from orchestrator.values.domain_settings import Mode
from orchestrator.values.energy_preference import rank_preference

if TYPE_CHECKING:
    from collections.abc import Iterator

    from orchestrator.controller.inventory import Inventory
    from orchestrator.controller.records import DomainRecord, Placement
    from orchestrator.policy.subject import PolicyOrder
    from orchestrator.rights import Rights
    from orchestrator.values.domain import DomainId


def check_policy(
    inventory: Inventory, uuid: DomainId, order: PolicyOrder
) -> tuple[str, ...]:
    """Return what keeps a policy from taking effect now, for people.

    Raises:
        ControlError: 404 unknown domain; 409 the domain is not running, or it does not
            have what the policy names.
    """
    record = inventory.domains.get(uuid)
    if record is None:
        raise ControlError(f"no such domain: {uuid}", status=404)
    error = _find_error(record, order)
    if error:
        raise ControlError(f"policy not set: {error}", status=409)
    return tuple(_find_warnings(inventory, record, order))


def _find_error(record: DomainRecord, order: PolicyOrder) -> str:
    if not record.spec.state.is_active:
        return "the domain is not running"
    if not record.placements:
        return "the domain has no vCPUs"
    own_macs = {interface.mac for interface in record.spec.interfaces}
    if vcpus := (order.vcpus or frozenset()) - {int(it) for it in record.placements}:
        return f"the domain has no vCPU {format_cpulist(vcpus)}"
    if macs := (order.macs or frozenset()) - own_macs:
        return f"the domain has no interface {', '.join(sorted(macs))}"
    return ""


def _find_warnings(
    inventory: Inventory, record: DomainRecord, order: PolicyOrder
) -> Iterator[str]:
    mode = resolve_rights(inventory.config, record.spec).mode
    if mode.value is not Mode.ENFORCE:
        yield f"no effect while the domain is in mode 'observe' ({mode.source})"
    vcpus_by_cause: dict[str, set[int]] = {}
    for vcpu, placement in record.placements.items():
        if order.vcpus is None or int(vcpu) in order.vcpus:
            cause = _find_cause(inventory, placement, order.policy.concern)
            vcpus_by_cause.setdefault(cause, set()).add(int(vcpu))
    vcpus_by_cause.pop("", None)
    for cause, vcpus in vcpus_by_cause.items():
        yield f"no effect on vCPU {format_cpulist(vcpus)}{cause}"
    yield from _find_stricter(order, resolve_rights(inventory.config, record.spec))


def _find_stricter(order: PolicyOrder, rights: Rights) -> Iterator[str]:
    """Yield settings that want more than the policy, beside which it has no effect."""
    wanted = order.held
    latency, preference = rights["idle_latency_us"], rights["epp"]
    if None not in (wanted.idle_latency_us, latency.value) and (
        latency.value < wanted.idle_latency_us
    ):
        shorter = f"{latency.value} us ({latency.source})"
        yield f"no effect on the idle latency: it is limited to {shorter}"
    if None in (wanted.epp, preference.value) or preference.source == HOST:
        return
    if rank_preference(preference.value) < rank_preference(wanted.epp or ""):
        higher = f"{preference.value} ({preference.source})"
        yield f"no effect on the energy preference: the domain has {higher}"


def _find_cause(inventory: Inventory, placement: Placement, concern: Concern) -> str:
    """Complete `no effect on vCPU 3`; empty: the policy has one."""
    match concern:
        case Concern.IDLE_LATENCY | Concern.ENERGY_PREFERENCE if not placement.pcpus:
            return f" now: {placement.reason}"
        case Concern.IDLE_LATENCY:
            return "" if is_pinned(inventory, placement) else " now: it is not pinned"
        case Concern.ENERGY_PREFERENCE:
            is_in_groups = bool(placement.groups)
            return "" if is_in_groups else " now: it is not pinned into one clock group"
        case Concern.FREQUENCY:
            return _find_frequency_cause(inventory, placement)


def _find_frequency_cause(inventory: Inventory, placement: Placement) -> str:
    if placement.group is None:
        return f" now: {placement.reason}"
    record = inventory.groups[placement.group]
    if record.override_khz is None:
        return ""
    cpus = format_cpulist(record.group.pcpus)
    return f" until the override ends: 'vmpower cpu release {cpus}'"
