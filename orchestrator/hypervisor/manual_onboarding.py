"""Onboarding by hand: what a domain lacks, where it can go, and what it needs for that.

The daemon onboards domains by its rules (`devices`); here an operator says for which
domains, and for which of their descriptions. What was given by hand no rule takes back.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from orchestrator.domain_xml.edit import add_channels, remove_channels
from orchestrator.hypervisor.descriptions import Scope, sides_of
from orchestrator.hypervisor.devices import attach_to, detach_from, lack_of_ports
from orchestrator.onboarding.plan import (
    ChannelPlan,
    plan_offboarding,
    plan_onboarding,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

    import libvirt

    from orchestrator.hypervisor.descriptions import Side
    from orchestrator.hypervisor.events import Bell
    from orchestrator.values.domain import DomainChannels


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """What became, or would become, of one domain."""

    live: tuple[int, ...] = ()
    """Channels that the running domain gained or lost."""
    config: tuple[int, ...] = ()
    """The same of its definition."""
    waiting: tuple[int, ...] = ()
    """Channels that the running domain has no port for; it will have them when it was
    powered off and on."""
    obstacle: str = ""
    """Why there are such."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Preview:
    """One description of a domain, before and after."""

    is_live: bool
    before: str
    after: str


def onboard(
    domain: libvirt.virDomain,
    numbers: frozenset[int] | None,
    scope: Scope,
    bell: Bell,
) -> Change:
    """Give a domain the channels that it lacks.

    Args:
        domain: running or not.
        numbers: the channels that it should have; None: one for each vCPU.
        scope: where; with ALL, a running domain gets as many as it has free ports,
            the lowest first, and the others at its next start. Who names the running
            domain wants all of them or nothing.
        bell: rung at every event of a device.

    Raises:
        libvirt.libvirtError: libvirt refused; all is undone.
        HypervisorError: the scope does not fit the domain, or it has no free ports.
        DomainXmlError: its XML cannot be understood, or a number is absurd.
    """
    plans = _plan_onboarding(domain, numbers, scope)
    attach_to({side: frozenset(plan.attach) for side, plan in plans.items()}, bell)
    live, config = _by_description(plans)
    return Change(
        live=live.attach,
        config=config.attach,
        waiting=live.waiting,
        obstacle=str(lack_of_ports(live)) if live.waiting else "",
    )


def offboard(
    domain: libvirt.virDomain,
    numbers: frozenset[int] | None,
    scope: Scope,
    bell: Bell,
) -> Change:
    """Take away what was given by onboarding, by hand or by a rule, and nothing else.

    Args:
        domain: running or not.
        numbers: these of them only; None: all.
        scope: from where.
        bell: rung at every event of a device.

    Raises:
        libvirt.libvirtError: libvirt refused; ask again.
        HypervisorError: the scope does not fit the domain, or it did not let go.
        DomainXmlError: its XML cannot be understood.
    """
    plans = _plan_offboarding(domain, numbers, scope)
    detach_from({side: frozenset(plan.detach) for side, plan in plans.items()}, bell)
    live, config = _by_description(plans)
    return Change(live=live.detach, config=config.detach)


def preview_onboard(
    domain: libvirt.virDomain, numbers: frozenset[int] | None, scope: Scope
) -> tuple[Preview, ...]:
    """Show what `onboard` would do; libvirt adds addresses by itself.

    Raises:
        libvirt.libvirtError: libvirt refused.
        HypervisorError: as `onboard`.
        DomainXmlError: as `onboard`.
    """
    plans = _plan_onboarding(domain, numbers, scope)
    return tuple(
        Preview(is_live=side.is_live, before=xml, after=add_channels(xml, plan.attach))
        for side, plan in plans.items()
        for xml in (add_channels(side.read_xml(), ()),)
    )


def preview_offboard(
    domain: libvirt.virDomain, numbers: frozenset[int] | None, scope: Scope
) -> tuple[Preview, ...]:
    """Show what `offboard` would do.

    Raises:
        libvirt.libvirtError: libvirt refused.
        HypervisorError: as `offboard`.
        DomainXmlError: as `offboard`.
    """
    plans = _plan_offboarding(domain, numbers, scope)
    return tuple(
        Preview(
            is_live=side.is_live, before=xml, after=remove_channels(xml, plan.detach)
        )
        for side, plan in plans.items()
        for xml in (remove_channels(side.read_xml(), ()),)
    )


def _plan_onboarding(
    domain: libvirt.virDomain, numbers: frozenset[int] | None, scope: Scope
) -> dict[Side, ChannelPlan]:
    """Plan for each description, the running domain first.

    Raises:
        HypervisorError: channels lack a port, and no definition will have them.
    """
    sides = sides_of(domain, scope)
    plans = {
        side: plan_onboarding(_channels_of(side), numbers, is_live=side.is_live)
        for side in sides
    }
    for plan in plans.values():
        if plan.waiting and (scope is not Scope.ALL or len(sides) == 1):
            raise lack_of_ports(plan)
    return plans


def _plan_offboarding(
    domain: libvirt.virDomain, numbers: frozenset[int] | None, scope: Scope
) -> dict[Side, ChannelPlan]:
    return {
        side: plan_offboarding(_channels_of(side), numbers)
        for side in sides_of(domain, scope)
    }


def _channels_of(side: Side) -> DomainChannels:
    parsed = side.parse()
    return parsed.domain_channels(parsed.note.numbers)


def _by_description(
    plans: Mapping[Side, ChannelPlan],
) -> tuple[ChannelPlan, ChannelPlan]:
    """Return the plans for the running domain and for the definition."""
    found = {side.is_live: plan for side, plan in plans.items()}
    return found.get(True, ChannelPlan()), found.get(False, ChannelPlan())
