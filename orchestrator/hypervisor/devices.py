# SPDX-License-Identifier: Apache-2.0
"""Attach channels to a domain, and detach them again.

Theory of operation: the running domain and its definition are changed by separate
calls, and either can fail; so each step registers its undo, and the first failure
undoes all steps in reverse. Before the first step the channel numbers are noted in the
domain's own metadata: one note in the running domain, one in the definition, because
onboarding may have attached a channel to one of them only. The note lives, moves and
ends with the domain, so even if this process dies, only noted channels are detached.

libvirt is never asked for more channels than there are free ports (see
`domain_xml.ports`): it refuses, but leaves a controller in the live XML that QEMU does
not have. So a running domain gets another controller first, if libvirt can plug one in.
Whether it can depends on libvirt (9.0 cannot, 11.3 can) and on the domain (ACPI, a free
PCI slot), so it is tried (decision 0050).

Source: virDomainAttachDeviceFlags, virDomainDetachDeviceFlags, virDomainSetMetadata,
qemuDomainAttachControllerDevice.
"""

from __future__ import annotations

import time
from contextlib import ExitStack, suppress
from functools import partial
from typing import TYPE_CHECKING

import libvirt

from orchestrator.domain_xml.controllers import find_plug_obstacle
from orchestrator.domain_xml.edit import (
    build_further_channels,
    build_further_controllers,
)
from orchestrator.domain_xml.parse import parse_domain
from orchestrator.errors import DomainXmlError, HypervisorError
from orchestrator.hypervisor.descriptions import Description, Scope, descriptions_of
from orchestrator.hypervisor.libvirt_errors import is_lost
from orchestrator.onboarding.plan import plan_onboarding

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from orchestrator.domain_xml.parse import ParsedDomain
    from orchestrator.hypervisor.events import DeviceEventCounter
    from orchestrator.onboarding.plan import ChannelPlan
    from orchestrator.values.domain import DomainId

DEADLINE_S = 10.0
"""Time for the domain to show or release a device. QEMU needs milliseconds; libvirt's
own call waits 5 s for the guest to release it."""
_POLL_S = 0.25
"""Interval of checks, in case an event was lost."""


def attach_channels(
    connection: libvirt.virConnect,
    uuid: DomainId,
    live: frozenset[int],
    config: frozenset[int],
    events: DeviceEventCounter,
) -> None:
    """Attach channels for an onboarding rule; present ones are left alone.

    Args:
        connection: read-write.
        uuid: the domain.
        live: numbers that the running domain should have.
        config: numbers that the definition should have.
        events: incremented at each device event.

    Raises:
        libvirt.libvirtError: libvirt refused; everything is undone.
        HypervisorError: no such description, or not enough free ports.
        DomainXmlError: invalid channel number, or invalid XML from libvirt.
    """
    domain = connection.lookupByUUIDString(uuid)
    attach_to(_by_description(domain, live, config), events, is_by_rule=True)


def attach_to(
    wanted: Mapping[Description, frozenset[int]],
    events: DeviceEventCounter,
    *,
    is_by_rule: bool = False,
) -> None:
    """Attach the channels that descriptions lack: all of them or none.

    Args:
        wanted: numbers that each description should have; the running domain first.
        events: incremented at each device event.
        is_by_rule: whether a rule wants them, not an operator.

    Raises:
        libvirt.libvirtError: libvirt refused; everything is undone.
        HypervisorError: not enough free ports, or QEMU did not show the channels in
            time.
        DomainXmlError: invalid channel number, or invalid XML from libvirt.
    """
    missing = {each: _find_missing(each, numbers) for each, numbers in wanted.items()}
    with ExitStack() as undo:
        for description, numbers in missing.items():
            _attach_all(description, numbers, undo, is_by_rule=is_by_rule)
        for description, numbers in missing.items():
            if description.is_live:
                _await_attached(description, numbers, events)
        undo.pop_all()


def detach_channels(
    connection: libvirt.virConnect,
    uuid: DomainId,
    live: frozenset[int],
    config: frozenset[int],
    events: DeviceEventCounter,
) -> None:
    """Detach channels, but only those that are noted as attached by a rule.

    Args:
        connection: read-write.
        uuid: the domain.
        live: numbers that the running domain should not have.
        config: numbers that the definition should not have.
        events: incremented at each device event.

    Raises:
        libvirt.libvirtError: libvirt refused; try again.
        HypervisorError: no such description, or the running domain did not release
            the channels in time.
        DomainXmlError: invalid XML from libvirt.
    """
    domain = connection.lookupByUUIDString(uuid)
    unwanted = _by_description(domain, live, config)
    detach_from(
        {each: it & each.parse().note.by_rule for each, it in unwanted.items()}, events
    )


def detach_from(
    unwanted: Mapping[Description, frozenset[int]], events: DeviceEventCounter
) -> None:
    """Detach channels from each description, and note what is left.

    Raises:
        libvirt.libvirtError: libvirt refused; try again.
        HypervisorError: the running domain did not release the channels in time.
        DomainXmlError: invalid XML from libvirt.
    """
    # The definition first: it must change even if the guest does not release a channel.
    for description, numbers in sorted(unwanted.items(), key=lambda it: it[0].is_live):
        if not numbers:
            continue
        try:
            _detach_all(description, numbers, events)
        finally:
            description.update_note()


def add_ports(
    connection: libvirt.virConnect, uuid: DomainId, numbers: frozenset[int]
) -> str:
    """Plug controllers into the running domain, so that channels for a rule fit.

    Args:
        connection: read-write.
        uuid: the domain.
        numbers: channels that the running domain should have.

    Returns:
        As `add_ports_to`.

    Raises:
        libvirt.libvirtError: as `add_ports_to`.
        HypervisorError: the domain is not running.
        DomainXmlError: invalid channel number, or invalid XML from libvirt.
    """
    [running] = descriptions_of(connection.lookupByUUIDString(uuid), Scope.LIVE)
    return add_ports_to(running, numbers)


def add_ports_to(running: Description, numbers: frozenset[int]) -> str:
    """Plug controllers into a running domain, so that channels fit.

    What was plugged in stays until the domain is powered off.

    Returns:
        Why the running domain cannot take another controller, for people; empty: there
        are ports for all of the channels.

    Raises:
        libvirt.libvirtError: libvirt does not answer, or is busy with the domain; try
            again.
        DomainXmlError: invalid channel number, or invalid XML from libvirt.
    """
    xml = running.read_xml()
    controllers = build_further_controllers(xml, numbers - parse_domain(xml).numbers)
    obstacle = find_plug_obstacle(xml) if controllers else ""
    try:
        for element in () if obstacle else controllers:
            running.attach(element)
    except libvirt.libvirtError as error:
        is_busy = error.get_error_code() == libvirt.VIR_ERR_OPERATION_TIMEOUT
        if is_busy or is_lost(error):
            raise
        obstacle = str(error).removesuffix(".")
    return obstacle


def lack_of_ports(plan: ChannelPlan, obstacle: str = "") -> HypervisorError:
    """Return the error that a running domain has too few free ports for a plan.

    Args:
        plan: the plan.
        obstacle: why it cannot take another controller; empty: not known.
    """
    free, missing = len(plan.attach), len(plan.attach) + len(plan.waiting)
    return HypervisorError(
        "not enough virtio-serial ports in the running domain:"
        f" {missing} needed, {free} free"
        + (f", and it cannot take another controller ({obstacle})" * bool(obstacle)),
        hint="attach fewer channels, or use --config and then power the domain off and"
        " on",
    )


def _by_description(
    domain: libvirt.virDomain, live: frozenset[int], config: frozenset[int]
) -> dict[Description, frozenset[int]]:
    """Assign numbers to descriptions; one without numbers need not exist."""
    scope = Scope.BOTH if live and config else Scope.LIVE if live else Scope.CONFIG
    descriptions = descriptions_of(domain, scope) if live or config else ()
    return {each: live if each.is_live else config for each in descriptions}


def _find_missing(description: Description, wanted: frozenset[int]) -> frozenset[int]:
    """Return the channels that a description lacks.

    Raises:
        HypervisorError: it has not enough free ports for them.
    """
    parsed = description.parse()
    channels = parsed.domain_channels(parsed.note.numbers)
    plan = plan_onboarding(channels, wanted, is_live=description.is_live)
    if plan.waiting:
        raise lack_of_ports(plan)
    return frozenset(plan.attach)


def _attach_all(
    description: Description,
    numbers: frozenset[int],
    undo: ExitStack,
    *,
    is_by_rule: bool,
) -> None:
    if not numbers:
        return
    xml = description.read_xml()
    before, elements = parse_domain(xml), build_further_channels(xml, numbers)
    undo.callback(_undo, description.update_note)
    controllers = description.list_controllers()
    noted = before.note.within(before.numbers)
    description.write_note(noted.with_channels(numbers, is_by_rule=is_by_rule))
    undo.callback(_undo, partial(description.note_controllers, controllers))
    for number, element in elements.items():
        description.attach(element)
        undo.callback(_undo, partial(description.detach, number))
    description.note_controllers(controllers)


def _await_attached(
    description: Description, numbers: frozenset[int], events: DeviceEventCounter
) -> None:
    def has_attached(live: ParsedDomain) -> bool:
        ready = {item.number for item in live.channels if item.alias and item.path}
        return numbers <= ready

    _await_live(description, has_attached, "show its new channels", events)


def _detach_all(
    description: Description, numbers: frozenset[int], events: DeviceEventCounter
) -> None:
    for number in sorted(numbers):
        description.detach(number)
    if description.is_live:
        _await_live(
            description,
            lambda live: not numbers & live.numbers,
            "release its channels",
            events,
        )


def _undo(step: Callable[[], None]) -> None:
    # A failed undo must not hide the error that caused it; the note keeps what is left.
    with suppress(libvirt.libvirtError, DomainXmlError):
        step()


def _await_live(
    description: Description,
    is_done: Callable[[ParsedDomain], bool],
    what: str,
    events: DeviceEventCounter,
) -> None:
    """Check the running domain after each device event until it is done."""
    deadline = time.monotonic() + DEADLINE_S
    while True:
        seen = events.count()
        if is_done(description.parse()):
            return
        if time.monotonic() >= deadline:
            raise HypervisorError(
                f"the domain did not {what} within {DEADLINE_S:.0f} s"
            )
        events.wait_for_more_than(seen, _POLL_S)
