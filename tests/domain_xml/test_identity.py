# SPDX-License-Identifier: Apache-2.0
"""The UUID of a new domain."""

from __future__ import annotations

import pytest

from orchestrator.domain_xml.document import parse_document
from orchestrator.domain_xml.identity import indented, with_uuid


@pytest.mark.parametrize("inside", ["", "<name>a</name><memory>1</memory>"])
def test_a_domain_gets_a_uuid_of_its_own(inside: str) -> None:
    xml = f"<domain>{inside}</domain>"
    first, second = (parse_document(with_uuid(xml)).findtext("uuid") for _ in range(2))
    assert first
    assert first != second


def test_a_uuid_stays() -> None:
    xml = "<domain><name>a</name><uuid>b</uuid></domain>"
    assert with_uuid(xml) == xml


def test_indentation_is_uniform() -> None:
    xml = "<domain><name>a</name>\n<os>     <type>hvm</type></os></domain>"
    assert indented(xml) == (
        "<domain>\n  <name>a</name>\n  <os>\n    <type>hvm</type>\n  </os>\n</domain>\n"
    )
