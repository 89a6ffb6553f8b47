# SPDX-License-Identifier: Apache-2.0
"""When a domain's XML is parsed again, and when it is taken from the cache."""

from __future__ import annotations

import pytest

from orchestrator.errors import DomainXmlError
from orchestrator.hypervisor.spec_reader import ParsedXmlCache
from orchestrator.values.domain import DomainId

UUID = DomainId("7779e6cd-caca-4c68-8934-da43e4863198")
OTHER = DomainId("7779e6cd-caca-4c68-8934-da43e4863199")
XML = f"<domain><name>a</name><uuid>{UUID}</uuid><vcpu>1</vcpu></domain>"


def test_unchanged_xml_is_not_parsed_again() -> None:
    cache = ParsedXmlCache()
    first = cache.parse(UUID, XML)
    assert cache.parse(UUID, XML) is first


def test_changed_xml_is_parsed_again() -> None:
    cache = ParsedXmlCache()
    cache.parse(UUID, XML)
    assert cache.parse(UUID, XML.replace(">1<", ">2<")).vcpus == (0, 1)
    assert cache.parse(UUID, XML).vcpus == (0,)


def test_invalid_xml_is_reported_each_time() -> None:
    cache = ParsedXmlCache()
    for _ in range(2):
        with pytest.raises(DomainXmlError):
            cache.parse(UUID, "<domain/>")


def test_entries_of_removed_domains_are_dropped() -> None:
    cache = ParsedXmlCache()
    first, other = cache.parse(UUID, XML), cache.parse(OTHER, XML)
    cache.keep([OTHER])
    assert cache.parse(UUID, XML) is not first
    assert cache.parse(OTHER, XML) is other
