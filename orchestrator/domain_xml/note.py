"""The note in a domain's metadata: what onboarding gave it, and who wanted that.

The note lives, moves and dies with the domain, so that exactly what was given can be
taken back, also by a daemon or a command that was started later. There is one in the
running domain and one in its definition, which libvirt copies to it at a start.

Rules and operators share it: a rule that goes away must not take what an operator gave
by hand.
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
"""A namespace of its own, because libvirt keeps one element for each namespace and
`urn:vmpower:domain:1` belongs to the domain's policy, which people write."""
NOTE_PREFIX = "vmpower-channels"
_TAG = "attached"


@dataclass(frozen=True, slots=True, kw_only=True)
class Note:
    """What onboarding gave one description of a domain."""

    numbers: frozenset[int] = frozenset()
    """Of the channels; one may be gone meanwhile, by somebody else's hand."""
    by_rule: frozenset[int] = frozenset()
    """Those of them that a rule of the daemon wanted."""
    controllers: frozenset[str] = frozenset()
    """What libvirt added to the definition for them: `virtio-serial:0`, `pci:4`."""

    def within(self, present: Collection[int]) -> Note:
        """Leave out the channels that are not there any more."""
        kept = self.numbers.intersection(present)
        return replace(self, numbers=kept, by_rule=self.by_rule & kept)

    def with_channels(self, numbers: frozenset[int], *, is_by_rule: bool) -> Note:
        """Add channels."""
        by_rule = self.by_rule | numbers if is_by_rule else self.by_rule
        return replace(self, numbers=self.numbers | numbers, by_rule=by_rule)


def parse_note(xml: str) -> Note:
    """Read the note out of a domain's XML.

    Raises:
        DomainXmlError: it is no domain XML.
    """
    return read_note(parse_document(xml))


def read_note(root: etree._Element) -> Note:
    """Read the note out of a domain's tree; junk there means that we gave nothing."""
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
    """Write the note as libvirt takes it; None: there is nothing to note."""
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
        # Somebody else wrote here: then we gave nothing that we could take away.
        return frozenset()
