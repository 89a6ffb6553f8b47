# SPDX-License-Identifier: Apache-2.0
"""The note in a domain's metadata: which channels onboarding attached, and for whom.

The note lives, moves and ends with the domain, so exactly these channels can be
detached again, even by a daemon or a command that was started later. There is one in
the running domain and one in its definition; libvirt copies the latter at a start.

Rules and operators share the note: a rule that is removed must not detach what an
operator attached by hand.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from lxml import etree

from orchestrator.domain_xml.document import parse_document
from orchestrator.errors import ConfigError
from orchestrator.values.cpuset import format_cpulist, parse_cpulist

if TYPE_CHECKING:
    from collections.abc import Collection

NOTE_URI = "urn:vmpower:channels:1"
"""A separate namespace, because libvirt keeps one element per namespace, and that of
`urn:vmpower:domain:1` holds the domain's settings, which people edit."""
NOTE_PREFIX = "vmpower-channels"
_TAG = "attached"


@dataclass(frozen=True, slots=True, kw_only=True)
class Note:
    """What onboarding attached to one description of a domain."""

    numbers: frozenset[int] = frozenset()
    """Channels; another program may have removed some meanwhile."""
    by_rule: frozenset[int] = frozenset()
    """Those of them that were attached for a rule of the daemon."""
    controllers: frozenset[str] = frozenset()
    """Controllers that libvirt added for them, as in `virtio-serial:0`, `pci:4`."""

    def within(self, present: Collection[int]) -> Note:
        """Return the note without channels that are no longer present."""
        kept = self.numbers.intersection(present)
        return replace(self, numbers=kept, by_rule=self.by_rule & kept)

    def with_channels(self, numbers: frozenset[int], *, is_by_rule: bool) -> Note:
        """Return the note with further channels."""
        by_rule = self.by_rule | numbers if is_by_rule else self.by_rule
        return replace(self, numbers=self.numbers | numbers, by_rule=by_rule)


def parse_note(xml: str) -> Note:
    """Read the note from a domain's XML.

    Raises:
        DomainXmlError: invalid domain XML.
    """
    return read_note(parse_document(xml))


def read_note(root: etree._Element) -> Note:
    """Read the note from a domain's tree; an invalid one counts as empty."""
    element = root.find(f"metadata/{{{NOTE_URI}}}{_TAG}")
    if element is None:
        return Note()
    numbers = _read_numbers(element, "numbers")
    return Note(
        numbers=numbers,
        by_rule=_read_numbers(element, "rule") & numbers,
        controllers=frozenset(str(element.get("controllers", "")).split()),
    )


def build_note(note: Note) -> str | None:
    """Build the element of a note; None: nothing to note."""
    element = etree.Element(_TAG)
    if note.numbers:
        element.set("numbers", format_cpulist(note.numbers))
    if note.by_rule:
        element.set("rule", format_cpulist(note.by_rule))
    if note.controllers:
        element.set("controllers", " ".join(sorted(note.controllers)))
    return etree.tostring(element, encoding="unicode") if element.attrib else None


def _read_numbers(element: etree._Element, name: str) -> frozenset[int]:
    try:
        return parse_cpulist(str(element.get(name, "")))
    except ConfigError:
        # Written by another program: nothing that we may detach.
        return frozenset()
