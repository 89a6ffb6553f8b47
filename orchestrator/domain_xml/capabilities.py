# SPDX-License-Identifier: Apache-2.0
"""libvirt's description of its host.

Source: libvirt's formatcaps, "Element and attribute overview" (secmodel).
"""

from __future__ import annotations

from orchestrator.domain_xml.document import parse_document


def read_security_models(xml: str) -> frozenset[str]:
    """Read the security models that confine guests: "apparmor", "selinux", "dac".

    Raises:
        DomainXmlError: not capabilities XML.
    """
    root = parse_document(xml, "capabilities")
    models = (element.text for element in root.iterfind("host/secmodel/model"))
    return frozenset(filter(None, models))
