"""Give a domain channels, and take away what was given.

Theory of operation: a channel goes into the running domain and into its definition by
two calls, which can fail apart; so every step leaves an undo behind, and the first
failure runs them backwards. Before the first step the numbers are noted in the domain's
own metadata, one note in the running domain and one in the definition (a channel may
be ours in one of them only). The note lives, moves and dies with the domain; whatever
becomes of this process, nothing else is ever detached.

libvirt is not asked for more channels than there are free ports (see
`domain_xml.ports`), because its refusal leaves a controller behind that is none.

Source: virDomainAttachDeviceFlags, virDomainDetachDeviceAlias, virDomainSetMetadata.
"""

from __future__ import annotations

import time
from contextlib import ExitStack, suppress
from functools import partial
from typing import TYPE_CHECKING

import libvirt

from orchestrator.errors import DomainXmlError, HypervisorError
from orchestrator.hypervisor.descriptions import Scope, Side, sides_of
from orchestrator.onboarding.plan import plan_onboarding

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from orchestrator.domain_xml.parse import ParsedDomain
    from orchestrator.hypervisor.events import Bell
    from orchestrator.onboarding.plan import ChannelPlan
    from orchestrator.values.domain import DomainId

DEADLINE_S = 10.0
"""How long the domain may take to show or lose a device; QEMU needs milliseconds, and
libvirt's own call waits 5 s for a guest to let go."""
_LOOK_AGAIN_S = 0.25
"""For changes whose event got lost."""


def attach_channels(
    connection: libvirt.virConnect,
    uuid: DomainId,
    live: frozenset[int],
    config: frozenset[int],
    bell: Bell,
) -> None:
    """Attach channels because a rule wants them; those that are there are left alone.

    Args:
        connection: read-write.
        uuid: the domain.
        live: numbers that the running domain should have.
        config: numbers that its definition should have.
        bell: rung at every event of a device.

    Raises:
        libvirt.libvirtError: libvirt refused; all is undone.
        HypervisorError: no such description, or no ports for them.
        DomainXmlError: a number is absurd, or libvirt's XML cannot be understood.
    """
    domain = connection.lookupByUUIDString(uuid)
    attach_to(_by_side(domain, live, config), bell, is_by_rule=True)


def attach_to(
    wanted: Mapping[Side, frozenset[int]], bell: Bell, *, is_by_rule: bool = False
) -> None:
    """Attach to each side the channels that it lacks; all or nothing.

    Args:
        wanted: the numbers that each side should have; the running domain first.
        bell: rung at every event of a device.
        is_by_rule: whether a rule wants it, or an operator by hand.

    Raises:
        libvirt.libvirtError: libvirt refused; all is undone.
        HypervisorError: no ports for them, or QEMU did not show them in time.
        DomainXmlError: a number is absurd, or libvirt's XML cannot be understood.
    """
    lacking = {side: _missing(side, numbers) for side, numbers in wanted.items()}
    with ExitStack() as undo:
        for side, numbers in lacking.items():
            _attach_all(side, numbers, undo, is_by_rule=is_by_rule)
        for side, numbers in lacking.items():
            if side.is_live:
                _await_attached(side, numbers, bell)
        undo.pop_all()


def detach_channels(
    connection: libvirt.virConnect,
    uuid: DomainId,
    live: frozenset[int],
    config: frozenset[int],
    bell: Bell,
) -> None:
    """Detach those of the channels that are noted as wanted by a rule.

    Args:
        connection: read-write.
        uuid: the domain.
        live: numbers that the running domain should not have.
        config: numbers that its definition should not have.
        bell: rung at every event of a device.

    Raises:
        libvirt.libvirtError: libvirt refused; ask again.
        HypervisorError: no such description, or the running domain did not let go of
            them in time.
        DomainXmlError: libvirt's XML cannot be understood.
    """
    domain = connection.lookupByUUIDString(uuid)
    unwanted = _by_side(domain, live, config)
    detach_from(
        {side: it & side.parse().note.by_rule for side, it in unwanted.items()}, bell
    )


def detach_from(unwanted: Mapping[Side, frozenset[int]], bell: Bell) -> None:
    """Detach channels from each side, and note what is left.

    Raises:
        libvirt.libvirtError: libvirt refused; ask again.
        HypervisorError: the running domain did not let go of them in time.
        DomainXmlError: libvirt's XML cannot be understood.
    """
    # The definition first: a guest that does not let go must not keep it as it is.
    for side, numbers in sorted(unwanted.items(), key=lambda item: item[0].is_live):
        if not numbers:
            continue
        try:
            _detach_all(side, numbers, bell)
        finally:
            side.renew_note()


def _by_side(
    domain: libvirt.virDomain, live: frozenset[int], config: frozenset[int]
) -> dict[Side, frozenset[int]]:
    """Say which numbers go where; a side without any need not be there."""
    scope = Scope.BOTH if live and config else Scope.LIVE if live else Scope.CONFIG
    sides = sides_of(domain, scope) if live or config else ()
    return {side: live if side.is_live else config for side in sides}


def _ready(parsed: ParsedDomain) -> set[int]:
    return {item.number for item in parsed.channels if item.alias and item.path}


def _missing(side: Side, wanted: frozenset[int]) -> frozenset[int]:
    """Return the channels that a side lacks, all of which it must have room for.

    Raises:
        HypervisorError: it has not enough free ports.
    """
    parsed = side.parse()
    channels = parsed.domain_channels(parsed.note.numbers)
    plan = plan_onboarding(channels, wanted, is_live=side.is_live)
    if plan.waiting:
        raise lack_of_ports(plan)
    return frozenset(plan.attach)


def lack_of_ports(plan: ChannelPlan) -> HypervisorError:
    """Return the error that a running domain has too few free ports for a plan."""
    free, missing = len(plan.attach), len(plan.attach) + len(plan.waiting)
    return HypervisorError(
        "not enough virtio-serial ports in the running domain:"
        f" {missing} needed, {free} free",
        hint="attach fewer channels, or use --config and then power the domain off and"
        " on: a running domain cannot take another controller",
    )


def _attach_all(
    side: Side, numbers: frozenset[int], undo: ExitStack, *, is_by_rule: bool
) -> None:
    if not numbers:
        return
    before = side.parse()
    undo.callback(_quietly, side.renew_note)
    controllers = side.list_controllers()
    noted = before.note.within(before.numbers)
    side.note(noted.with_channels(numbers, is_by_rule=is_by_rule))
    undo.callback(_quietly, partial(side.note_controllers, controllers))
    for number in sorted(numbers):
        side.attach(number)
        undo.callback(_quietly, partial(side.detach, number))
    side.note_controllers(controllers)


def _await_attached(side: Side, numbers: frozenset[int], bell: Bell) -> None:
    _await_live(
        side, lambda live: numbers <= _ready(live), "show its new channels", bell
    )


def _detach_all(side: Side, numbers: frozenset[int], bell: Bell) -> None:
    for number in sorted(numbers):
        side.detach(number)
    if side.is_live:
        _await_live(
            side,
            lambda live: not numbers & live.numbers,
            "let go of its channels",
            bell,
        )


def _quietly(step: Callable[[], None]) -> None:
    # An undo that is refused must not hide why we undo; the note tells what is left.
    with suppress(libvirt.libvirtError, DomainXmlError):
        step()


def _await_live(
    side: Side, is_done: Callable[[ParsedDomain], bool], what: str, bell: Bell
) -> None:
    """Look at the running domain until it is done, woken by its events."""
    deadline = time.monotonic() + DEADLINE_S
    while True:
        heard = bell.count()
        if is_done(side.parse()):
            return
        if time.monotonic() >= deadline:
            raise HypervisorError(f"the domain did not {what} in {DEADLINE_S:.0f} s")
        bell.wait_beyond(heard, _LOOK_AGAIN_S)
