"""What libvirt says about its host.

Source: libvirt's formatcaps, "Element and attribute overview" (secmodel).
"""

from __future__ import annotations

from orchestrator.domain_xml.document import parse_document


def read_security_models(xml: str) -> frozenset[str]:
    """Read what confines guests: "apparmor", "selinux", "dac".

    Raises:
        DomainXmlError: these are no capabilities.
    """
    root = parse_document(xml, "capabilities")
    models = (element.text for element in root.iterfind("host/secmodel/model"))
    return frozenset(filter(None, models))
