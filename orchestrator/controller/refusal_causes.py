"""Why guests are refused: the monitor counts, people are told the cause.

The monitor says so at the first refusal of each reason, as a bare number; which of the
operator's words or of the host's facts is behind it is known here.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from orchestrator.controller.actions import Report, Severity
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
    from orchestrator.controller.inventory import DomainRecord, Inventory
    from orchestrator.rights import Rights

_WANTED = frozenset({Refusal.OBSERVED, Refusal.DISABLED, Refusal.OVERRIDDEN})
"""Refusals that are the operator's own doing: no reason to warn him."""


def on_refused(inventory: Inventory, event: events.RequestRefused) -> list[Action]:
    """Tell people what a guest was refused, and why; the same cause once."""
    record = inventory.domains.get(event.uuid)
    channel = record.channels.get(event.number) if record else None
    if record is None or channel is None:
        return []
    cause = _CAUSES[event.reason](_Case(inventory, record, event))
    if channel.refusals.get(event.reason) == cause:
        return []
    channel.refusals[event.reason] = cause
    word = event.reason.word
    return [
        Report(
            "refusal",
            f"channel {event.number} is refused requests ({word}): {cause}",
            domain=record.spec.name,
            severity=Severity.INFO if event.reason in _WANTED else Severity.WARNING,
            facts={"number": event.number, "reason": word},
        )
    ]


def find_causes(record: DomainRecord, number: int) -> dict[str, str]:
    """Return why requests of a channel were refused, by the reason's word."""
    causes = dict(record.channels[number].refusals)
    policies = record.policy_refusals
    # Most have none, and are not to pay for the look.
    policy = policies and policies.get(Source(SourceKind.GUEST, channel=number))
    if policy:
        causes[Refusal.POLICY_REFUSED] = policy
    return {reason.word: cause for reason, cause in causes.items()}


class _Case(NamedTuple):
    """One refusal, and where to look for its cause."""

    inventory: Inventory
    record: DomainRecord
    event: events.RequestRefused

    @property
    def rights(self) -> Rights:
        """Of the domain."""
        return resolve_rights(self.inventory.config, self.record.spec)

    @property
    def cpus(self) -> str:
        """Name the CPUs of the vCPU's clock group."""
        place = self.record.placements.get(VCpu(self.event.vcpu))
        number = place.group if place else None
        record = None if number is None else self.inventory.groups.get(number)
        return name_cpus(record.group.pcpus if record else ())


def _observed(case: _Case) -> str:
    return f"the domain is only observed ({case.rights.mode.source})"


def _disabled(case: _Case) -> str:
    words = f"vmpower channel enable {case.record.spec.name} {case.event.number}"
    return f"the channel is disabled, '{words}' ends that"


def _physical(case: _Case) -> str:
    return (
        f"it named CPU {case.event.vcpu} of the host; a guest has a say in the clocks"
        " of its own vCPUs only"
    )


def _no_vcpu(case: _Case) -> str:
    vcpus = {int(vcpu) for vcpu in case.record.placements}
    if case.event.vcpu in vcpus:
        return f"a reply has no room for vCPU {case.event.vcpu}, only for 0-7"
    return f"it named vCPU {case.event.vcpu}, and has only {name_all('vCPU', vcpus)}"


def _floating(case: _Case) -> str:
    place = case.record.placements.get(VCpu(case.event.vcpu))
    why = place.reason if place and place.reason else "it was not controllable"
    return f"vCPU {case.event.vcpu}: {why}"


def _unit(case: _Case) -> str:
    return f"its unit {case.event.unit} means nothing"


def _turbo(case: _Case) -> str:
    turbo = case.rights.turbo
    if not turbo.value:
        return f"turbo is not allowed ({turbo.source})"
    return f"{case.cpus} has no turbo step"


def _overridden(case: _Case) -> str:
    return f"an operator has set the clock of {case.cpus}"


def _claim(case: _Case) -> str:
    return f"the clock of {case.cpus} could not be taken"


def _kernel(case: _Case) -> str:
    return f"the kernel refused the clock of {case.cpus}"


def _too_many(_case: _Case) -> str:
    return "it sends too many policies in a short time"


def _bad_policy(_case: _Case) -> str:
    return "its policy cannot be installed"


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
    Refusal.FLOATING: _floating,
    Refusal.UNIT: _unit,
    Refusal.TURBO: _turbo,
    Refusal.OVERRIDDEN: _overridden,
    Refusal.CLAIM: _claim,
    Refusal.KERNEL: _kernel,
    Refusal.POLICIES_TOO_MANY: _too_many,
    Refusal.POLICY_REFUSED: _bad_policy,
    **{it.refusal: _forbidden(it) for it in Permission},
}
