# SPDX-License-Identifier: Apache-2.0
"""Validation by libvirt's own schema, if it is installed.

Source: domain.rng of libvirt (Debian: package libvirt-daemon).
"""

from __future__ import annotations

from pathlib import Path

from lxml import etree

from orchestrator.domain_xml.document import parse_document
from orchestrator.errors import DomainXmlError

SCHEMA = Path("/usr/share/libvirt/schemas/domain.rng")


def validate(xml: str, schema: Path = SCHEMA) -> bool:
    """Validate a domain's XML with libvirt's schema.

    Returns:
        Whether the schema is installed; without it nothing was validated.

    Raises:
        DomainXmlError: the XML is invalid.
    """
    root = parse_document(xml)
    try:
        # Not cached: it takes 16 ms, and a command validates once.
        rules = etree.RelaxNG(etree.parse(schema))
    except (OSError, etree.RelaxNGParseError):
        return False
    if not rules.validate(root):
        last = rules.error_log.last_error
        why = "" if last is None else f": line {last.line}: {last.message}"
        raise DomainXmlError(f"not valid by libvirt's schema{why}")
    return True
