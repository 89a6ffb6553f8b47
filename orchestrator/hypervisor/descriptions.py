"""A domain's two descriptions, as it runs and as it is defined, and changes to one.

Source: virDomainModificationImpact of libvirt-domain.h; virsh's --live, --config and
--current.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import Enum
from typing import TYPE_CHECKING

import libvirt

from orchestrator.domain_xml.channel import build_channel
from orchestrator.domain_xml.controllers import find_idle_controller, list_controllers
from orchestrator.domain_xml.edit import find_channel
from orchestrator.domain_xml.note import (
    NOTE_PREFIX,
    NOTE_URI,
    Note,
    build_note,
    parse_note,
)
from orchestrator.domain_xml.parse import ParsedDomain, parse_domain
from orchestrator.errors import HypervisorError

if TYPE_CHECKING:
    from collections.abc import Iterator

LIVE = libvirt.VIR_DOMAIN_AFFECT_LIVE
CONFIG = libvirt.VIR_DOMAIN_AFFECT_CONFIG
_ELEMENT = libvirt.VIR_DOMAIN_METADATA_ELEMENT


class Scope(Enum):
    """Which of a domain's descriptions a change is for."""

    ALL = "all"
    """Both, as far as they are there."""
    CURRENT = "current"
    """The running domain; of one that is off, the definition."""
    LIVE = "live"
    """The running domain."""
    CONFIG = "config"
    """The definition."""
    BOTH = "both"
    """Both, and both must be there."""


@dataclass(frozen=True, slots=True)
class Side:
    """One of a domain's two descriptions."""

    domain: libvirt.virDomain
    flag: int
    """LIVE or CONFIG."""

    @property
    def is_live(self) -> bool:
        """Whether it is the running domain."""
        return bool(self.flag == LIVE)

    def read_xml(self) -> str:
        """Ask libvirt for it."""
        flags = 0 if self.is_live else libvirt.VIR_DOMAIN_XML_INACTIVE
        return str(self.domain.XMLDesc(flags))

    def parse(self) -> ParsedDomain:
        """Ask libvirt for it, and understand it."""
        return parse_domain(self.read_xml())

    def set_metadata(self, prefix: str, uri: str, element: str | None) -> None:
        """Put an element of ours in place of the one there; None takes it away."""
        self.domain.setMetadata(_ELEMENT, element, prefix, uri, self.flag)

    def note(self, note: Note) -> None:
        """Remember what we gave."""
        self.set_metadata(NOTE_PREFIX, NOTE_URI, build_note(note))

    def attach(self, number: int) -> None:
        """Attach one channel; in a definition, controllers may come with it."""
        self.domain.attachDeviceFlags(build_channel(number), self.flag)

    def list_controllers(self) -> frozenset[str]:
        """Name what could come with a channel; a running domain takes none."""
        return frozenset() if self.is_live else list_controllers(self.read_xml())

    def note_controllers(self, before: frozenset[str]) -> None:
        """Note those that have come since `before`."""
        added = self.list_controllers() - before
        if added:
            note = parse_note(self.read_xml())
            self.note(replace(note, controllers=note.controllers | added))

    def detach(self, number: int) -> None:
        """Ask for one channel's removal, if it is there; libvirt wants all its XML."""
        element = find_channel(self.read_xml(), number)
        if element is not None:
            self.domain.detachDeviceFlags(element, self.flag)

    def renew_note(self) -> None:
        """Take away controllers that are of no more use; note what is still there."""
        self._drop_controllers()
        xml = self.read_xml()
        parsed = parse_domain(xml)
        controllers = parsed.note.controllers & list_controllers(xml)
        kept = replace(parsed.note.within(parsed.numbers), controllers=controllers)
        if kept != parsed.note:
            self.note(kept)

    def _drop_controllers(self) -> None:
        while not self.is_live:
            xml = self.read_xml()
            element = find_idle_controller(xml, parse_note(xml).controllers)
            if element is None:
                return
            self.domain.detachDeviceFlags(element, self.flag)


def sides_of(domain: libvirt.virDomain, scope: Scope = Scope.ALL) -> tuple[Side, ...]:
    """Choose; the running domain first, because a refusal is more likely there.

    Raises:
        HypervisorError: the domain has no such description.
    """
    is_active, is_persistent = bool(domain.isActive()), bool(domain.isPersistent())
    if scope in (Scope.LIVE, Scope.BOTH) and not is_active:
        raise HypervisorError("the domain is not running")
    if scope in (Scope.CONFIG, Scope.BOTH) and not is_persistent:
        raise HypervisorError(
            "the domain is transient: it has no definition",
            hint="give --live; it ends with the domain",
        )
    return tuple(_choose(domain, scope, is_active=is_active, has=is_persistent))


def _choose(
    domain: libvirt.virDomain, scope: Scope, *, is_active: bool, has: bool
) -> Iterator[Side]:
    if is_active and scope is not Scope.CONFIG:
        yield Side(domain, LIVE)
    is_only_live = scope is Scope.LIVE or (scope is Scope.CURRENT and is_active)
    if has and not is_only_live:
        yield Side(domain, CONFIG)
