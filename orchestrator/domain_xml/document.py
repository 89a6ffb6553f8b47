"""Domain XML as a tree, and back as text; hostile text is refused."""

from __future__ import annotations

from lxml import etree

from orchestrator.errors import DomainXmlError


def parse_document(xml: str, tag: str = "domain") -> etree._Element:
    """Turn the text of a domain into its tree.

    Args:
        xml: the text.
        tag: of the root element, for other documents of libvirt.

    Raises:
        DomainXmlError: it is not well-formed, is no domain, or declares a DTD.
    """
    # A DTD is the only door to entities, and libvirt never writes one.
    if "<!DOCTYPE" in xml:
        raise DomainXmlError(
            "domain XML declares a document type",
            hint="take the <!DOCTYPE> out, libvirt has no use for it",
        )
    try:
        # As bytes, because lxml refuses a str that declares its encoding.
        root = etree.fromstring(xml.encode(), _parser())
    except (etree.XMLSyntaxError, UnicodeEncodeError) as error:
        raise DomainXmlError(f"domain XML is not well-formed: {error}") from error
    if root.tag != tag:
        raise DomainXmlError(f"the XML describes no {tag} but <{root.tag}>")
    return root


def _parser() -> etree.XMLParser:
    # One for each call: describing runs in several threads.
    return etree.XMLParser(
        encoding="utf-8",
        resolve_entities=False,
        load_dtd=False,
        no_network=True,
        huge_tree=False,
    )


def render_document(root: etree._Element) -> str:
    """Write a tree as text, with what stands beside its root element."""
    return etree.tostring(root.getroottree(), encoding="unicode")


def devices_of(root: etree._Element) -> etree._Element:
    """Find the devices of a domain; an empty element is added if it has none."""
    devices = root.find("devices")
    return etree.SubElement(root, "devices") if devices is None else devices
