# SPDX-License-Identifier: Apache-2.0
"""Checks an operator's policy against the domain that it is for.

What the domain does not have at all is an error. What may change while the policy is
set, such as pinning, is a warning: the policy takes effect then.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from orchestrator.errors import ControlError
from orchestrator.rights import resolve_rights
from orchestrator.values.cpuset import format_cpulist
from orchestrator.values.domain_settings import Mode

if TYPE_CHECKING:
    from collections.abc import Iterator

    from orchestrator.controller.inventory import DomainRecord, Inventory, Placement
    from orchestrator.policy.subject import PolicyOrder
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
            cause = _find_cause(inventory, placement)
            vcpus_by_cause.setdefault(cause, set()).add(int(vcpu))
    vcpus_by_cause.pop("", None)
    for cause, vcpus in vcpus_by_cause.items():
        yield f"no effect on vCPU {format_cpulist(vcpus)}{cause}"


def _find_cause(inventory: Inventory, placement: Placement) -> str:
    """Complete `no effect on vCPU 3`; empty: the policy has one."""
    if placement.group is None:
        return f" now: {placement.reason}"
    record = inventory.groups[placement.group]
    if record.override_khz is None:
        return ""
    cpus = format_cpulist(record.group.pcpus)
    return f" until the override ends: 'vmpower cpu release {cpus}'"
