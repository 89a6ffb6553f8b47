"""Onboarding by hand: what a domain lacks, where it can go, and what it needs for that.

The daemon onboards domains by its rules (`devices`); here an operator says for which
domains, and for which of their descriptions. What was given by hand no rule takes back.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from orchestrator.domain_xml.edit import add_channels, remove_channels
from orchestrator.hypervisor.descriptions import Scope, sides_of
from orchestrator.hypervisor.devices import attach_to, detach_from, find_obstacle

if TYPE_CHECKING:
    from collections.abc import Mapping

    import libvirt

    from orchestrator.hypervisor.descriptions import Side
    from orchestrator.hypervisor.events import Bell


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


@dataclass(frozen=True, slots=True)
class _Plan:
    lacking: dict[Side, frozenset[int]]
    """The running domain first."""
    waiting: frozenset[int] = frozenset()
    obstacle: str = ""


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
    plan = _plan(domain, numbers, scope)
    attach_to(plan.lacking, bell)
    return replace(
        _tell(plan.lacking),
        waiting=tuple(sorted(plan.waiting)),
        obstacle=plan.obstacle,
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
    given = _given(domain, numbers, scope)
    detach_from(given, bell)
    return _tell(given)


def preview_onboard(
    domain: libvirt.virDomain, numbers: frozenset[int] | None, scope: Scope
) -> tuple[Preview, ...]:
    """Show what `onboard` would do; libvirt adds addresses by itself.

    Raises:
        libvirt.libvirtError: libvirt refused.
        HypervisorError: as `onboard`.
        DomainXmlError: as `onboard`.
    """
    lacking = _plan(domain, numbers, scope).lacking
    return tuple(
        Preview(is_live=side.is_live, before=xml, after=add_channels(xml, wanted))
        for side, wanted in lacking.items()
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
    return tuple(
        Preview(is_live=side.is_live, before=xml, after=remove_channels(xml, given))
        for side, given in _given(domain, numbers, scope).items()
        for xml in (remove_channels(side.read_xml(), ()),)
    )


def _plan(
    domain: libvirt.virDomain, numbers: frozenset[int] | None, scope: Scope
) -> _Plan:
    sides = sides_of(domain, scope)
    plan = _Plan({})
    for side in sides:
        parsed = side.parse()
        wanted = frozenset[int](parsed.vcpus) if numbers is None else numbers
        lacks = wanted - parsed.numbers
        problem = find_obstacle(parsed, lacks) if side.is_live else None
        if problem is not None:
            if scope is not Scope.ALL or len(sides) == 1:
                raise problem
            fitting = frozenset(sorted(lacks)[: parsed.free_ports])
            plan = _Plan({}, lacks - fitting, str(problem))
            lacks = fitting
        plan.lacking[side] = lacks
    return plan


def _given(
    domain: libvirt.virDomain, numbers: frozenset[int] | None, scope: Scope
) -> dict[Side, frozenset[int]]:
    given: dict[Side, frozenset[int]] = {}
    for side in sides_of(domain, scope):
        parsed = side.parse()
        ours = parsed.note.numbers & parsed.numbers
        given[side] = ours if numbers is None else ours & numbers
    return given


def _tell(changed: Mapping[Side, frozenset[int]]) -> Change:
    told = {side.is_live: tuple(sorted(numbers)) for side, numbers in changed.items()}
    return Change(live=told.get(True, ()), config=told.get(False, ()))
