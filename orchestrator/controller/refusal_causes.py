# SPDX-License-Identifier: Apache-2.0
"""Causes of refused requests: the monitor counts refusals, this module explains them.

The monitor reports the first refusal of each reason, as a number; which setting of the
operator or which state of the host caused it is found here.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from orchestrator.channel.protocol import MAX_VCPUS
from orchestrator.controller import drift
from orchestrator.controller.actions import Report, Severity
from orchestrator.controller.group_lifecycle import GroupStage
from orchestrator.controller.records import ExplainedRefusal
from orchestrator.policy.subject import Source, SourceKind
from orchestrator.rights import resolve_rights
from orchestrator.values.cpuset import name_all, name_cpus
from orchestrator.values.domain import VCpu
from orchestrator.values.domain_settings import SETTINGS
from orchestrator.values.refusal import Permission, Refusal

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from orchestrator import events
    from orchestrator.controller.actions import Action
    from orchestrator.controller.inventory import Inventory
    from orchestrator.controller.records import (
        ChannelRecord,
        DomainRecord,
        GroupRecord,
        Placement,
    )
    from orchestrator.rights import Rights

_INTENDED = frozenset({Refusal.OBSERVED, Refusal.DISABLED, Refusal.OVERRIDDEN})
"""Refusals that the operator asked for: not worth a warning."""


def on_refused(inventory: Inventory, event: events.RequestRefused) -> list[Action]:
    """Report a refusal and its cause; the same cause once."""
    record = inventory.domains.get(event.uuid)
    channel = record.channels.get(event.number) if record else None
    if record is None or channel is None:
        return []
    cause = _CAUSES[event.reason](_Case(inventory, record, event))
    known = channel.refusals.get(event.reason)
    channel.refusals[event.reason] = ExplainedRefusal(event, cause)
    if known is not None and known.cause == cause:
        return []
    word = event.reason.word
    return [
        Report(
            "refusal",
            f"requests of channel {event.number} refused ({word}): {cause}",
            domain=record.spec.name,
            severity=Severity.INFO if event.reason in _INTENDED else Severity.WARNING,
            facts={"number": event.number, "reason": word},
        )
    ]


def find_causes(
    inventory: Inventory, record: DomainRecord, number: int
) -> dict[str, str]:
    """Return why requests of a channel are refused or would be, by the reason's word.

    A cause that has ended is left out: what it advises has been done, or no longer
    helps.
    """
    causes = {
        reason: refusal.cause
        for reason, refusal in record.channels[number].refusals.items()
        if _LASTING[reason](_Case(inventory, record, refusal.event))
    }
    for group in sorted(record.groups() & inventory.groups.keys()):
        it = inventory.groups[group]
        cpus = name_cpus(it.group.pcpus)
        if why := drift.explain(it):
            causes[Refusal.CLAIM] = causes[Refusal.KERNEL] = f"{cpus}: {why}"
        elif name := it.refused_errno:
            why = f"the kernel refuses the frequency of {cpus} ({name})"
            causes[Refusal.KERNEL] = why
    policies = record.policy_refusals
    # Most have none; a source is built only for the others.
    policy = policies and policies.get(Source(SourceKind.GUEST, channel=number))
    if policy:
        causes[Refusal.POLICY_REFUSED] = policy
    return {reason.word: cause for reason, cause in causes.items()}


class _Case(NamedTuple):
    """One refusal, with what is needed to find its cause."""

    inventory: Inventory
    record: DomainRecord
    event: events.RequestRefused

    @property
    def rights(self) -> Rights:
        """The domain's rights."""
        return resolve_rights(self.inventory.config, self.record.spec)

    @property
    def groups(self) -> list[GroupRecord]:
        """The vCPU's clock groups; empty if it is not controllable."""
        known = self.inventory.groups
        numbers = self.place.groups if self.place else ()
        return [known[number] for number in numbers if number in known]

    @property
    def channel(self) -> ChannelRecord:
        """The channel of the request."""
        return self.record.channels[self.event.number]

    @property
    def cpus(self) -> str:
        """The CPUs of the vCPU's clock groups, as text."""
        return name_cpus(pcpu for it in self.groups for pcpu in it.group.pcpus)

    @property
    def place(self) -> Placement | None:
        """Where the vCPU of the request runs; None: there is none."""
        return self.record.placements.get(VCpu(self.event.vcpu))


def _observed(case: _Case) -> str:
    return f"the domain is in mode 'observe' ({case.rights.mode.source})"


def _disabled(case: _Case) -> str:
    command = f"vmpower channel enable {case.record.spec.name} {case.event.number}"
    return f"the channel is disabled; enable it with '{command}'"


def _physical(case: _Case) -> str:
    return (
        f"the request names CPU {case.event.vcpu} of the host; a guest may only set the"
        " frequencies of its own vCPUs"
    )


def _no_vcpu(case: _Case) -> str:
    vcpus = {int(vcpu) for vcpu in case.record.placements}
    if case.event.vcpu in vcpus and case.channel.spec.steps is not None:
        return f"the guest's P-state table has no vCPU {case.event.vcpu} on this port"
    if case.event.vcpu in vcpus:
        return f"a reply holds vCPUs 0-7 only, not vCPU {case.event.vcpu}"
    return f"no such vCPU: {case.event.vcpu}; the domain has {name_all('vCPU', vcpus)}"


def _not_controllable(case: _Case) -> str:
    place = case.record.placements.get(VCpu(case.event.vcpu))
    why = place.reason if place and place.reason else "not controllable"
    return f"vCPU {case.event.vcpu}: {why}"


def _unit(case: _Case) -> str:
    return f"unknown command (unit {case.event.unit})"


def _no_step(case: _Case) -> str:
    return (
        f"the guest's P-state table has no step {case.event.unit} for vCPU"
        f" {case.event.vcpu}"
    )


def _turbo(case: _Case) -> str:
    turbo = case.rights.turbo
    if not turbo.value:
        return f"turbo is not allowed ({turbo.source})"
    for kernel in (record.kernel for record in case.groups):
        if kernel.is_boost_off:
            return f"turbo is off in the kernel for {case.cpus} ({kernel.turbo_switch})"
    return f"{case.cpus} has no turbo frequency"


def _overridden(case: _Case) -> str:
    return f"an operator has set the frequency of {case.cpus}"


def _claim(case: _Case) -> str:
    for record in case.groups:
        if why := drift.explain(record):
            return f"{name_cpus(record.group.pcpus)}: {why}"
    return f"{case.cpus} could not be taken from the governor"


def _kernel(case: _Case) -> str:
    return f"the kernel refused the frequency of {case.cpus}"


def _too_many(_case: _Case) -> str:
    return "too many policies in a short time"


def _bad_policy(_case: _Case) -> str:
    return "the policy cannot be installed"


def _no_energy(case: _Case) -> str:
    if not case.inventory.config.energy.enabled:
        return "energy is not accounted: '[energy] enabled' is false"
    return "the domain's energy was not accounted yet"


def _forbidden(permission: Permission) -> Callable[[_Case], str]:
    attribute = SETTINGS[permission].attribute

    def explain(case: _Case) -> str:
        return f"setting '{attribute}' is 'no' ({case.rights[permission].source})"

    return explain


_CAUSES: Mapping[Refusal, Callable[[_Case], str]] = {
    Refusal.OBSERVED: _observed,
    Refusal.DISABLED: _disabled,
    Refusal.PHYSICAL: _physical,
    Refusal.NO_VCPU: _no_vcpu,
    Refusal.FLOATING: _not_controllable,
    Refusal.UNMANAGED: _not_controllable,
    Refusal.UNIT: _unit,
    Refusal.NO_STEP: _no_step,
    Refusal.TURBO: _turbo,
    Refusal.OVERRIDDEN: _overridden,
    Refusal.CLAIM: _claim,
    Refusal.KERNEL: _kernel,
    Refusal.POLICIES_TOO_MANY: _too_many,
    Refusal.POLICY_REFUSED: _bad_policy,
    Refusal.ENERGY_UNKNOWN: _no_energy,
    **{it.refusal: _forbidden(it) for it in Permission},
}


# Whether the same request would still be refused for the same reason.


def _is_absent(case: _Case) -> bool:
    is_in_packet = case.channel.spec.steps is None and case.event.vcpu < MAX_VCPUS
    return case.place is None or not is_in_packet


def _is_floating(case: _Case) -> bool:
    return case.place is not None and case.place.reason is not None


def _is_turbo_unavailable(case: _Case) -> bool:
    has_turbo = any(
        it.group.steps.has_turbo and not it.kernel.is_boost_off for it in case.groups
    )
    return not (case.rights.turbo.value and has_turbo)


def _is_overridden(case: _Case) -> bool:
    return any(it.override_khz is not None for it in case.groups)


def _is_untaken(case: _Case) -> bool:
    return any(it.stage is not GroupStage.TAKEN for it in case.groups)


def _is_refused_by_kernel(case: _Case) -> bool:
    return any(it.refused_errno for it in case.groups)


def _is_forbidden(permission: Permission) -> Callable[[_Case], bool]:
    return lambda case: not case.rights[permission].value


_LASTING: Mapping[Refusal, Callable[[_Case], bool]] = {
    # By default: what the guest sends.
    **dict.fromkeys(Refusal, lambda _case: True),
    Refusal.OBSERVED: lambda case: not case.rights.is_enforced,
    Refusal.DISABLED: lambda case: not case.channel.is_enabled,
    Refusal.NO_VCPU: _is_absent,
    Refusal.FLOATING: _is_floating,
    Refusal.TURBO: _is_turbo_unavailable,
    Refusal.OVERRIDDEN: _is_overridden,
    Refusal.CLAIM: _is_untaken,
    Refusal.KERNEL: _is_refused_by_kernel,
    Refusal.ENERGY_UNKNOWN: lambda case: not case.inventory.config.energy.enabled,
    **{it.refusal: _is_forbidden(it) for it in Permission},
}
