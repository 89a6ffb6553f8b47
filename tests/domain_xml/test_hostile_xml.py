# SPDX-License-Identifier: Apache-2.0
"""Domain XML and metadata that are damaged or made up."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from lxml import etree

from orchestrator.domain_xml.channel import build_channel
from orchestrator.domain_xml.edit import add_channels, remove_channels
from orchestrator.domain_xml.metadata import (
    POLICY_URI,
    build_settings,
    parse_settings,
    set_settings,
    validate_settings,
)
from orchestrator.domain_xml.parse import parse_domain
from orchestrator.errors import DomainXmlError
from orchestrator.values.domain_settings import DomainSettings
from orchestrator.values.units import MAX_KHZ, KHz
from tests.domain_xml.domains import read_golden
from tests.mutations import mutated
from tests.properties import examples

pytestmark = pytest.mark.fuzz

CAPPED = DomainSettings(max_khz=KHz(2_400_000), policies="workload low vcpus=1")
GOLDEN = [read_golden(n) for n in ("defined", "defined-with-three", "live")]
DOMAINS = [*GOLDEN, *(set_settings(xml, CAPPED) for xml in GOLDEN)]
PIECES = (
    *("<!-- -->", "<?x y?>", "<![CDATA[x]]>", "&amp;", "&#0;", "&lol;", "<!DOCTYPE a>"),
    *("<a/>", "</domain>", "<metadata>", "</metadata>", "<vcpu>", "</vcpu>", "'", '"'),
    *("xmlns='urn:x'", "xmlns:vmpower='urn:vmpower:domain:1'", " ", "\n", "-1"),
    *("0", "1", "4294967296", "9" * 30, "0-4095", "٣", "<", ">", "&", "\0", "\ud800"),
    f"<vmpower:policy xmlns:vmpower='{POLICY_URI}' max='1kHz'/>",
    "<cputune><vcpupin vcpu='0' cpuset='^0'/></cputune>",
    build_channel(63),
)
xml = mutated(DOMAINS, PIECES)
policy_xml = mutated([build_settings(CAPPED), *PIECES], PIECES)


@settings(max_examples=examples(150), deadline=None)
@given(xml)
def test_a_damaged_domain_is_described_or_refused(text: str) -> None:
    try:
        found = parse_domain(text)
    except DomainXmlError:
        return
    numbers = sorted(channel.number for channel in found.channels)
    for unique in (sorted(found.vcpus), numbers):
        assert all(a < b for a, b in pairwise(unique))
    assert all("\n" not in problem for problem in found.problems)
    limits = found.settings
    if limits is not None and limits.max_khz is not None:
        assert 1 <= limits.max_khz <= MAX_KHZ


@settings(max_examples=examples(150), deadline=None)
@given(xml, st.frozensets(st.integers(0, 63), max_size=4))
def test_a_damaged_domain_is_edited_so_that_it_can_be_read_or_is_refused(
    text: str, numbers: frozenset[int]
) -> None:
    try:
        parse_domain(text)
        edited = set_settings(add_channels(text, numbers), CAPPED)
    except DomainXmlError:
        return
    found = parse_domain(edited)
    assert numbers <= found.numbers
    assert found.settings == CAPPED
    removed = parse_domain(remove_channels(edited, numbers))
    assert numbers.isdisjoint(removed.numbers)


@settings(max_examples=examples(150), deadline=None)
@given(policy_xml, st.sampled_from(GOLDEN))
def test_damaged_metadata_never_prevents_the_description_of_a_domain(
    text: str, domain: str
) -> None:
    whole = domain.replace("</domain>", f"<metadata>{text}</metadata></domain>")
    try:
        found = parse_settings(whole)
    except DomainXmlError:
        assert not _is_xml(whole) or "<!DOCTYPE" in whole
        return
    valid = found.settings or DomainSettings()
    assert DomainSettings() == valid or parse_settings(
        set_settings(domain, valid)
    ).settings in (None, valid)


def _is_xml(text: str) -> bool:
    try:
        etree.fromstring(text.encode())
    except (etree.XMLSyntaxError, UnicodeEncodeError):
        return False
    return True


@settings(max_examples=examples(150), deadline=None)
@given(policy_xml)
def test_any_text_for_a_domain_s_settings_is_valid_or_refused(text: str) -> None:
    try:
        validate_settings(text)
    except DomainXmlError:
        return
    assert "policy" in text
