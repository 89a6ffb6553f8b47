# SPDX-License-Identifier: Apache-2.0
"""The two descriptions of a domain, live and persistent, and changes to one of them.

Source: virDomainModificationImpact of libvirt-domain.h; virsh's --live, --config and
--current.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import Enum
from typing import TYPE_CHECKING

import libvirt

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
    """Which of a domain's descriptions a change applies to."""

    ALL = "all"
    """Both, or the only one that exists."""
    CURRENT = "current"
    """The running domain, or the definition of a domain that is off."""
    LIVE = "live"
    """The running domain."""
    CONFIG = "config"
    """The definition."""
    BOTH = "both"
    """Both; both must exist."""


@dataclass(frozen=True, slots=True)
class Description:
    """One description of a domain: the running domain, or its definition."""

    domain: libvirt.virDomain
    flag: int
    """LIVE or CONFIG."""

    @property
    def is_live(self) -> bool:
        """Whether it is the running domain."""
        return bool(self.flag == LIVE)

    def read_xml(self) -> str:
        """Read it from libvirt."""
        flags = 0 if self.is_live else libvirt.VIR_DOMAIN_XML_INACTIVE
        return str(self.domain.XMLDesc(flags))

    def parse(self) -> ParsedDomain:
        """Read it from libvirt and parse it."""
        return parse_domain(self.read_xml())

    def set_metadata(self, prefix: str, uri: str, element: str | None) -> None:
        """Replace vmpower's metadata element of a namespace; None removes it."""
        self.domain.setMetadata(_ELEMENT, element, prefix, uri, self.flag)

    def write_note(self, note: Note) -> None:
        """Record what onboarding attached."""
        self.set_metadata(NOTE_PREFIX, NOTE_URI, build_note(note))

    def attach(self, element: str) -> None:
        """Attach one device; libvirt may add controllers to a definition for it."""
        self.domain.attachDeviceFlags(element, self.flag)

    def list_controllers(self) -> frozenset[str]:
        """List the controllers of a definition; those of a running domain stay."""
        return frozenset() if self.is_live else list_controllers(self.read_xml())

    def note_controllers(self, before: frozenset[str]) -> None:
        """Add the controllers that were not there `before` to the note."""
        added = self.list_controllers() - before
        if added:
            note = parse_note(self.read_xml())
            self.write_note(replace(note, controllers=note.controllers | added))

    def detach(self, number: int) -> None:
        """Request the removal of one channel, if there is one."""
        element = find_channel(self.read_xml(), number)
        if element is not None:
            self.domain.detachDeviceFlags(element, self.flag)

    def update_note(self) -> None:
        """Remove noted controllers that are idle; note what is still present."""
        self._remove_idle_controllers()
        xml = self.read_xml()
        parsed = parse_domain(xml)
        controllers = parsed.note.controllers & list_controllers(xml)
        kept = replace(parsed.note.within(parsed.numbers), controllers=controllers)
        if kept != parsed.note:
            self.write_note(kept)

    def _remove_idle_controllers(self) -> None:
        while not self.is_live:
            xml = self.read_xml()
            element = find_idle_controller(xml, parse_note(xml).controllers)
            if element is None:
                return
            self.domain.detachDeviceFlags(element, self.flag)


def descriptions_of(
    domain: libvirt.virDomain, scope: Scope = Scope.ALL
) -> tuple[Description, ...]:
    """Return the descriptions that a scope selects.

    The running domain comes first, because it is more likely to refuse a change.

    Raises:
        HypervisorError: the domain has no such description.
    """
    is_active, is_persistent = bool(domain.isActive()), bool(domain.isPersistent())
    if scope in (Scope.LIVE, Scope.BOTH) and not is_active:
        raise HypervisorError("the domain is not running")
    if scope in (Scope.CONFIG, Scope.BOTH) and not is_persistent:
        raise HypervisorError(
            "the domain is transient: it has no definition",
            hint="use --live; the change ends with the domain",
        )
    return tuple(
        _select(domain, scope, is_active=is_active, is_persistent=is_persistent)
    )


def _select(
    domain: libvirt.virDomain, scope: Scope, *, is_active: bool, is_persistent: bool
) -> Iterator[Description]:
    if is_active and scope is not Scope.CONFIG:
        yield Description(domain, LIVE)
    is_only_live = scope is Scope.LIVE or (scope is Scope.CURRENT and is_active)
    if is_persistent and not is_only_live:
        yield Description(domain, CONFIG)
