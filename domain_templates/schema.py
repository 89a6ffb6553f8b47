# SPDX-License-Identifier: Apache-2.0
"""Validation by libvirt's own schema, if it is installed.

Theory of operation: RELAX NG reports an error inside of alternatives and interleaved
elements at their parent, which in a domain is the root. So the invalid element is
searched: it is the smallest one without which the domain is valid.

Source: domain.rng of libvirt (Debian: package libvirt-daemon).
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, cast

from lxml import etree

from orchestrator.domain_xml.document import parse_document
from orchestrator.errors import DomainXmlError

if TYPE_CHECKING:
    from collections.abc import Sequence

SCHEMA = Path("/usr/share/libvirt/schemas/domain.rng")


def validate(xml: str, schema: Path = SCHEMA, *, has_lines: bool = True) -> bool:
    """Validate a domain's XML with libvirt's schema.

    Args:
        xml: of the domain.
        schema: in RELAX NG.
        has_lines: the user has the text, so an error gives the line.

    Returns:
        Whether the schema is installed; without it nothing was validated.

    Raises:
        DomainXmlError: the XML is invalid; names the first invalid element, if it can
            be found.
    """
    rules = load_rules(schema)
    if rules is not None:
        check(xml, rules, has_lines=has_lines)
    return rules is not None


def load_rules(schema: Path = SCHEMA) -> etree.RelaxNG | None:
    """Load a schema, which takes 16 ms; None: it is not installed."""
    try:
        return etree.RelaxNG(etree.parse(schema))
    except (OSError, etree.RelaxNGParseError):
        return None


def check(xml: str, rules: etree.RelaxNG, *, has_lines: bool = True) -> None:
    """Validate a domain's XML with a loaded schema; see `validate`.

    Raises:
        DomainXmlError: the XML is invalid.
    """
    root = parse_document(xml)
    if not rules.validate(root):
        reported = [(entry.line, entry.message) for entry in rules.error_log]
        raise DomainXmlError(
            "not valid by libvirt's schema"
            + _explain(rules, root, reported, has_lines=has_lines)
        )


def _explain(
    rules: etree.RelaxNG,
    root: etree._Element,
    reported: Sequence[tuple[int, str]],
    *,
    has_lines: bool,
) -> str:
    # The last line only names an element that contains the invalid one.
    useful = [it for it in reported if "failed to validate content" not in it[1]]
    line, message = next(iter(useful or reported), (0, ""))
    element = _find_invalid(rules, root)
    if element is not None:
        line = cast("int | None", element.sourceline) or line
        message = _describe(rules, root, element)
    place = f": line {line}" if has_lines and line else ""
    return f"{place}: {message}" if message else place


def _find_invalid(rules: etree.RelaxNG, root: etree._Element) -> etree._Element | None:
    """Return the smallest element without which the domain is valid.

    Changes the document: of several invalid elements, only the first is left.
    """
    found = None
    children = _children_of(root)
    while children:
        invalid = next((it for it in children if _is_valid_without(rules, it)), None)
        if invalid is None:
            invalid = _first_of_several(rules, root, children)
        if invalid is None:
            break
        found, children = invalid, _children_of(invalid)
    return found


def _first_of_several(
    rules: etree.RelaxNG, root: etree._Element, children: Sequence[etree._Element]
) -> etree._Element | None:
    """Remove all invalid elements but the first, which is returned."""
    parent = children[0].getparent()
    if parent is None:  # pragma: no cover - only the root has none; for mypy
        return None
    everything = list(parent)
    parent[:] = []
    invalid = []
    for child in everything if rules.validate(root) else ():
        parent.append(child)
        if not rules.validate(root):
            parent.remove(child)
            invalid.append(child)
    if not invalid:
        parent[:] = everything
        return None
    parent.append(invalid[0])
    return invalid[0]


def _describe(
    rules: etree.RelaxNG, root: etree._Element, element: etree._Element
) -> str:
    names = [etree.QName(it).localname for it in element.iterancestors()]
    path = "/".join(reversed(names))
    tag = etree.QName(element).localname
    attributes = {str(name): str(value) for name, value in element.items()}
    for name, value in attributes.items():
        del element.attrib[name]
        if rules.validate(root):
            return f"invalid attribute {name}='{value}' of <{tag}> in {path}"
        element.set(name, value)
    given = "".join(f" {name}='{value}'" for name, value in attributes.items())
    text = (element.text or "").strip()
    described = f"<{tag}{given}>" + (f" '{text}'" if text else "")
    return f"invalid, incomplete or unexpected {described} in {path}"


def _is_valid_without(rules: etree.RelaxNG, element: etree._Element) -> bool:
    parent = element.getparent()
    if parent is None:  # pragma: no cover - only the root has none; for mypy
        return False
    index = parent.index(element)
    tail = element.tail
    parent.remove(element)
    is_valid = bool(rules.validate(parent.getroottree()))
    parent.insert(index, element)
    element.tail = tail
    return is_valid


def _children_of(element: etree._Element) -> list[etree._Element]:
    # Without comments and processing instructions, which are always valid.
    return list(element.iterchildren("*"))
