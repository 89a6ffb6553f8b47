"""Give a running domain channels, and take away what we gave.

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
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import libvirt

from orchestrator.cpuset import format_cpulist
from orchestrator.domain_xml.channel import build_channel
from orchestrator.domain_xml.edit import find_channel
from orchestrator.domain_xml.parse import (
    ATTACHED_PREFIX,
    ATTACHED_URI,
    ParsedDomain,
    parse_domain,
)
from orchestrator.errors import DomainXmlError, HypervisorError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from orchestrator.domain import DomainId
    from orchestrator.hypervisor.events import Bell

LIVE = libvirt.VIR_DOMAIN_AFFECT_LIVE
CONFIG = libvirt.VIR_DOMAIN_AFFECT_CONFIG
DEADLINE_S = 10.0
"""How long the domain may take to show or lose a device; QEMU needs milliseconds, and
libvirt's own call waits 5 s for a guest to let go."""
_LOOK_AGAIN_S = 0.25
"""For changes whose event got lost."""


@dataclass(frozen=True, slots=True)
class _Side:
    """One of a domain's two descriptions: as it runs, or as it is defined."""

    domain: libvirt.virDomain
    flag: int
    """LIVE or CONFIG."""

    def read_xml(self) -> str:
        flags = 0 if self.flag == LIVE else libvirt.VIR_DOMAIN_XML_INACTIVE
        return str(self.domain.XMLDesc(flags))

    def parse(self) -> ParsedDomain:
        return parse_domain(self.read_xml())

    def write_note(self, numbers: frozenset[int]) -> None:
        text = f"<attached numbers='{format_cpulist(numbers)}'/>" if numbers else None
        self.domain.setMetadata(
            libvirt.VIR_DOMAIN_METADATA_ELEMENT,
            text,
            ATTACHED_PREFIX,
            ATTACHED_URI,
            self.flag,
        )


def attach_channels(
    connection: libvirt.virConnect, uuid: DomainId, numbers: frozenset[int], bell: Bell
) -> None:
    """Attach the channels that the running domain and its definition lack.

    Raises:
        libvirt.libvirtError: libvirt refused; all is undone.
        HypervisorError: not running, or no ports for them.
        DomainXmlError: a number is absurd, or libvirt's XML cannot be understood.
    """
    domain = connection.lookupByUUIDString(uuid)
    if not domain.isActive():
        raise HypervisorError("the domain is not running")
    sides = tuple(_sides(domain))
    lacking = {side.flag: numbers - _numbers_of(side.parse()) for side in sides}
    _check_ports(sides[0].parse(), lacking[LIVE])
    with ExitStack() as undo:
        for side in sides:
            _attach_to(side, lacking[side.flag], undo)
        _await_live(
            sides[0],
            lambda live: lacking[LIVE] <= _ready(live),
            "show its new channels",
            bell,
        )
        undo.pop_all()


def detach_channels(
    connection: libvirt.virConnect, uuid: DomainId, numbers: frozenset[int], bell: Bell
) -> None:
    """Detach those of the channels that were noted as given by us.

    Raises:
        libvirt.libvirtError: libvirt refused; ask again.
        HypervisorError: the running domain did not let go of them in time.
        DomainXmlError: libvirt's XML cannot be understood.
    """
    domain = connection.lookupByUUIDString(uuid)
    for side in _sides(domain):
        ours = numbers & side.parse().attached
        if not ours:
            continue
        try:
            _detach_from(side, ours, bell)
        finally:
            _renew_note(side)


def _sides(domain: libvirt.virDomain) -> Iterator[_Side]:
    """The running domain first: there, a refusal is more likely."""
    if domain.isActive():
        yield _Side(domain, LIVE)
    if domain.isPersistent():
        yield _Side(domain, CONFIG)


def _numbers_of(parsed: ParsedDomain) -> frozenset[int]:
    return parsed.unusable_channels.union(item.number for item in parsed.channels)


def _ready(parsed: ParsedDomain) -> set[int]:
    return {item.number for item in parsed.channels if item.alias and item.path}


def _check_ports(live: ParsedDomain, lacking: frozenset[int]) -> None:
    if len(lacking) <= live.free_ports:
        return
    raise HypervisorError(
        f"{len(lacking)} channels need a port each,"
        f" and the domain's virtio-serial controllers have {live.free_ports} free",
        hint="add the channels to its definition and power it off and on:"
        " a running domain takes no further controller",
    )


def _attach_to(side: _Side, numbers: frozenset[int], undo: ExitStack) -> None:
    if not numbers:
        return
    before = side.parse()
    undo.callback(_quietly, partial(_renew_note, side))
    side.write_note(numbers | (before.attached & _numbers_of(before)))
    for number in sorted(numbers):
        channel = build_channel(number)
        side.domain.attachDeviceFlags(channel, side.flag)
        undo.callback(_quietly, partial(_detach_one, side, number))


def _detach_from(side: _Side, numbers: frozenset[int], bell: Bell) -> None:
    for number in sorted(numbers):
        _detach_one(side, number)
    if side.flag == LIVE:
        _await_live(
            side,
            lambda live: not numbers & _numbers_of(live),
            "let go of its channels",
            bell,
        )


def _detach_one(side: _Side, number: int) -> None:
    """Ask for one channel's removal, if it is there; libvirt wants all of its XML."""
    element = find_channel(side.read_xml(), number)
    if element is not None:
        side.domain.detachDeviceFlags(element, side.flag)


def _renew_note(side: _Side) -> None:
    """Keep in the note what is still there."""
    parsed = side.parse()
    kept = parsed.attached & _numbers_of(parsed)
    if kept != parsed.attached:
        side.write_note(kept)


def _quietly(step: Callable[[], None]) -> None:
    # An undo that is refused must not hide why we undo; the note tells what is left.
    with suppress(libvirt.libvirtError, DomainXmlError):
        step()


def _await_live(
    side: _Side, is_done: Callable[[ParsedDomain], bool], what: str, bell: Bell
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
