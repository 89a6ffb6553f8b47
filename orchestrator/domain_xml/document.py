# SPDX-License-Identifier: Apache-2.0
"""Domain XML as a tree, and back as text; malicious text is refused."""

from __future__ import annotations

from lxml import etree

from orchestrator.errors import DomainXmlError


def parse_document(xml: str, tag: str = "domain") -> etree._Element:
    """Parse the XML of a domain.

    Args:
        xml: the text.
        tag: expected root element, for other documents of libvirt.

    Raises:
        DomainXmlError: it is not well-formed, has another root element, or a DTD.
    """
    # Entities need a DTD, and libvirt never writes one.
    if "<!DOCTYPE" in xml:
        raise DomainXmlError(
            "domain XML must not declare a document type",
            hint="remove the <!DOCTYPE>, libvirt does not need it",
        )
    try:
        # As bytes, because lxml refuses a str with an encoding declaration.
        root = etree.fromstring(xml.encode(), _parser())
    except (etree.XMLSyntaxError, UnicodeEncodeError) as error:
        raise DomainXmlError(f"domain XML is not well-formed: {error}") from error
    if root.tag != tag:
        raise DomainXmlError(f"expected a <{tag}> element, found <{root.tag}>")
    return root


def _parser() -> etree.XMLParser:
    # One for each call: domains are read in several threads.
    return etree.XMLParser(
        encoding="utf-8",
        resolve_entities=False,
        load_dtd=False,
        no_network=True,
        huge_tree=False,
    )


def render_document(root: etree._Element) -> str:
    """Serialize a tree, including comments beside its root element."""
    return etree.tostring(root.getroottree(), encoding="unicode")


def metadata_of(root: etree._Element) -> etree._Element:
    """Return the <metadata> element of a domain, adding it if there is none."""
    metadata = root.find("metadata")
    if metadata is not None:
        return metadata
    metadata = etree.Element("metadata")
    # Where libvirt writes it: after names and descriptions.
    named = [
        root.find(tag) for tag in ("description", "title", "genid", "uuid", "name")
    ]
    before = next((element for element in named if element is not None), None)
    if before is None:
        root.insert(0, metadata)
    else:
        metadata.tail = before.tail
        before.addnext(metadata)
    return metadata


def append_child(parent: etree._Element, child: etree._Element) -> None:
    """Append a child with the indentation of its siblings."""
    last = parent[-1] if len(parent) else None
    if last is None:
        child.tail, parent.text = parent.text, None
    else:
        child.tail, last.tail = last.tail, parent.text
    parent.append(child)


def remove_element(element: etree._Element) -> None:
    """Remove an element together with its indentation."""
    parent = element.getparent()
    if parent is None:  # pragma: no cover - a device has a parent; for mypy
        return
    previous = element.getprevious()
    if element.getnext() is None and previous is not None:
        previous.tail = element.tail
    elif element.getnext() is None:
        parent.text = element.tail
    parent.remove(element)


def devices_of(root: etree._Element) -> etree._Element:
    """Return the <devices> element of a domain, adding it if there is none."""
    devices = root.find("devices")
    return etree.SubElement(root, "devices") if devices is None else devices
