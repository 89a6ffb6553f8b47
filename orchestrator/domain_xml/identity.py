# SPDX-License-Identifier: Apache-2.0
"""Completes the XML of a new domain: its UUID, and its indentation."""

from __future__ import annotations

import uuid

from lxml import etree

from orchestrator.domain_xml.document import parse_document, render_document


def with_uuid(xml: str) -> str:
    """Return the XML of a domain with its UUID, or with a new random one.

    Raises:
        DomainXmlError: invalid XML.
    """
    root = parse_document(xml)
    if root.find("uuid") is not None:
        return xml
    element = etree.Element("uuid")
    element.text = str(uuid.uuid4())
    name = root.find("name")
    if name is None:
        root.insert(0, element)
    else:
        element.tail = name.tail
        name.addnext(element)
    return render_document(root) + "\n"


def indented(xml: str) -> str:
    """Return the XML of a domain with uniform indentation.

    Raises:
        DomainXmlError: invalid XML.
    """
    root = parse_document(xml)
    etree.indent(root)
    return render_document(root) + "\n"
