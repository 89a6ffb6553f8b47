# SPDX-License-Identifier: Apache-2.0
"""Onboarding on an operator's request, for `vmpower domain onboard` and `offboard`.

The daemon onboards domains by its rules (`devices`); here the operator names the
domain, the channels and the descriptions. No rule detaches what was attached by hand.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import libvirt

from orchestrator.domain_xml.edit import add_channels, remove_channels
from orchestrator.hypervisor.descriptions import Scope, descriptions_of
from orchestrator.hypervisor.devices import (
    add_ports_to,
    attach_to,
    detach_from,
    lack_of_ports,
)
from orchestrator.onboarding.plan import (
    ChannelPlan,
    plan_offboarding,
    plan_onboarding,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from orchestrator.hypervisor.descriptions import Description
    from orchestrator.hypervisor.events import DeviceEventCounter
    from orchestrator.values.domain import DomainChannels


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """What was changed in one domain."""

    live: tuple[int, ...] = ()
    """Channels that were attached to or detached from the running domain."""
    config: tuple[int, ...] = ()
    """Channels that were added to or removed from the definition."""
    waiting: tuple[int, ...] = ()
    """Channels for which the running domain has no free port, and cannot get one; it
    gets them when it is powered off and started again."""
    obstacle: str = ""
    """Why channels are waiting; empty if none is."""
    by_rule: tuple[int, ...] = ()
    """Those of the detached channels that a rule of the daemon attached; it attaches
    them again if it still applies."""
    has_saved_state: bool = False
    """Whether libvirt starts it from a saved state, in which nothing has changed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Preview:
    """One description of a domain, before and after a change."""

    is_live: bool
    before: str
    after: str
    by_rule: tuple[int, ...] = ()
    """Those of the detached channels that a rule of the daemon attached."""
    has_saved_state: bool = False
    """Whether libvirt starts it from a saved state, in which nothing changes."""


def onboard(
    domain: libvirt.virDomain,
    numbers: frozenset[int] | None,
    scope: Scope,
    events: DeviceEventCounter,
) -> Change:
    """Attach the channels that a domain lacks.

    Args:
        domain: running or not.
        numbers: channels that it should have; None: one for each vCPU.
        scope: where. With ALL, a running domain that cannot take another controller
            gets as many as it has free ports, lowest numbers first, and the others at
            its next start. With any other scope it gets all of them or none.
        events: incremented at each device event.

    Raises:
        libvirt.libvirtError: libvirt refused; everything is undone, except that a
            controller that was plugged into the running domain stays.
        HypervisorError: the domain has no such description, or not enough free ports.
        DomainXmlError: invalid XML, or an invalid channel number.
    """
    obstacle = _add_ports(domain, numbers, scope)
    plans = _plan_onboarding(domain, numbers, scope, obstacle)
    attach_to({each: frozenset(plan.attach) for each, plan in plans.items()}, events)
    live, config = _by_description(plans)
    return Change(
        live=live.attach,
        config=config.attach,
        waiting=live.waiting,
        obstacle=str(lack_of_ports(live, obstacle)) if live.waiting else "",
        has_saved_state=_has_saved_state(domain),
    )


def offboard(
    domain: libvirt.virDomain,
    numbers: frozenset[int] | None,
    scope: Scope,
    events: DeviceEventCounter,
) -> Change:
    """Detach channels that onboarding attached, by hand or by a rule, and no others.

    Args:
        domain: running or not.
        numbers: only these of them; None: all.
        scope: where.
        events: incremented at each device event.

    Raises:
        libvirt.libvirtError: libvirt refused; try again.
        HypervisorError: the domain has no such description, or did not release the
            channels in time.
        DomainXmlError: invalid XML.
    """
    plans = _plan_offboarding(domain, numbers, scope)
    unwanted = {each: frozenset(plan.detach) for each, plan in plans.items()}
    by_rule = _attached_by_rule(unwanted)
    detach_from(unwanted, events)
    live, config = _by_description(plans)
    return Change(
        live=live.detach,
        config=config.detach,
        by_rule=by_rule,
        has_saved_state=_has_saved_state(domain),
    )


def preview_onboard(
    domain: libvirt.virDomain, numbers: frozenset[int] | None, scope: Scope
) -> tuple[Preview, ...]:
    """Return what `onboard` would change without controllers for the running domain.

    Whether libvirt can plug one in is not known before it is tried. It adds the
    addresses later.

    Raises:
        libvirt.libvirtError: libvirt refused.
        HypervisorError: as `onboard`.
        DomainXmlError: as `onboard`.
    """
    plans = _plan_onboarding(domain, numbers, scope)
    changes = ((each, plan.attach) for each, plan in plans.items())
    return _preview(changes, add_channels)


def preview_offboard(
    domain: libvirt.virDomain, numbers: frozenset[int] | None, scope: Scope
) -> tuple[Preview, ...]:
    """Return what `offboard` would change.

    Raises:
        libvirt.libvirtError: libvirt refused.
        HypervisorError: as `offboard`.
        DomainXmlError: as `offboard`.
    """
    plans = _plan_offboarding(domain, numbers, scope)
    changes = ((each, plan.detach) for each, plan in plans.items())
    previews = _preview(changes, remove_channels)
    return tuple(
        replace(preview, by_rule=_attached_by_rule({each: frozenset(plan.detach)}))
        for preview, (each, plan) in zip(previews, plans.items(), strict=True)
    )


def _preview(
    changes: Iterable[tuple[Description, tuple[int, ...]]],
    change: Callable[[str, Iterable[int]], str],
) -> tuple[Preview, ...]:
    return tuple(
        Preview(
            is_live=each.is_live,
            before=xml,
            after=change(xml, numbers),
            has_saved_state=_has_saved_state(each.domain),
        )
        for each, numbers in changes
        # Both through the same writer, so that they differ in the change alone.
        for xml in (change(each.read_xml(), ()),)
    )


def _add_ports(
    domain: libvirt.virDomain, numbers: frozenset[int] | None, scope: Scope
) -> str:
    """Plug controllers into the running domain if it lacks ports.

    Returns:
        Why it cannot take another one; empty: it has ports, or it is not to be changed.
    """
    for description in descriptions_of(domain, scope):
        if description.is_live:
            plan = plan_onboarding(_channels_of(description), numbers, is_live=True)
            if plan.waiting:
                return add_ports_to(description, frozenset(plan.attach + plan.waiting))
    return ""


def _plan_onboarding(
    domain: libvirt.virDomain,
    numbers: frozenset[int] | None,
    scope: Scope,
    obstacle: str = "",
) -> dict[Description, ChannelPlan]:
    """Plan for each description, the running domain first.

    Args:
        domain: running or not.
        numbers: channels that it should have; None: one for each vCPU.
        scope: where.
        obstacle: why the running domain cannot take another controller, if it was
            tried.

    Raises:
        HypervisorError: not enough free ports, and no definition to fall back on.
    """
    descriptions = descriptions_of(domain, scope)
    plans = {
        each: plan_onboarding(_channels_of(each), numbers, is_live=each.is_live)
        for each in descriptions
    }
    may_wait = scope is Scope.ALL and len(descriptions) > 1
    for plan in plans.values():
        if plan.waiting and not may_wait:
            raise lack_of_ports(plan, obstacle)
    return plans


def _plan_offboarding(
    domain: libvirt.virDomain, numbers: frozenset[int] | None, scope: Scope
) -> dict[Description, ChannelPlan]:
    return {
        each: plan_offboarding(_channels_of(each), numbers)
        for each in descriptions_of(domain, scope)
    }


def _attached_by_rule(
    unwanted: Mapping[Description, frozenset[int]],
) -> tuple[int, ...]:
    """Return the channels that a rule attached and may attach again."""
    found: set[int] = set()
    for description, numbers in unwanted.items():
        parsed = description.parse()
        is_exempt = parsed.settings is not None and parsed.settings.onboard is False
        if not is_exempt:
            found |= numbers & parsed.note.by_rule
    return tuple(sorted(found))


def _has_saved_state(domain: libvirt.virDomain) -> bool:
    try:
        return bool(domain.hasManagedSaveImage(0))
    except libvirt.libvirtError:
        return False  # a driver that saves none


def _channels_of(description: Description) -> DomainChannels:
    parsed = description.parse()
    return parsed.domain_channels(parsed.note.numbers)


def _by_description(
    plans: Mapping[Description, ChannelPlan],
) -> tuple[ChannelPlan, ChannelPlan]:
    """Return the plans for the running domain and for the definition."""
    found = {each.is_live: plan for each, plan in plans.items()}
    return found.get(True, ChannelPlan()), found.get(False, ChannelPlan())
