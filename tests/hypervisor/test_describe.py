"""What of a domain's description is understood anew, and what is known."""

from __future__ import annotations

import pytest

from orchestrator.errors import DomainXmlError
from orchestrator.hypervisor.describe import KnownXml
from orchestrator.values.domain import DomainId

UUID = DomainId("7779e6cd-caca-4c68-8934-da43e4863198")
OTHER = DomainId("7779e6cd-caca-4c68-8934-da43e4863199")
XML = f"<domain><name>a</name><uuid>{UUID}</uuid><vcpu>1</vcpu></domain>"


def test_xml_that_has_not_changed_is_not_understood_again() -> None:
    known = KnownXml()
    first = known.parse(UUID, XML)
    assert known.parse(UUID, XML) is first


def test_xml_that_has_changed_is() -> None:
    known = KnownXml()
    known.parse(UUID, XML)
    assert known.parse(UUID, XML.replace(">1<", ">2<")).vcpus == (0, 1)
    assert known.parse(UUID, XML).vcpus == (0,)


def test_what_cannot_be_understood_stays_so() -> None:
    known = KnownXml()
    for _ in range(2):
        with pytest.raises(DomainXmlError):
            known.parse(UUID, "<domain/>")


def test_domains_that_are_gone_are_forgotten() -> None:
    known = KnownXml()
    first, other = known.parse(UUID, XML), known.parse(OTHER, XML)
    known.keep([OTHER])
    assert known.parse(UUID, XML) is not first
    assert known.parse(OTHER, XML) is other
