# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import libvirt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from lxml import etree

from orchestrator.domain_xml.document import parse_document
from orchestrator.domain_xml.metadata import (
    POLICY_PREFIX,
    POLICY_URI,
    build_settings,
    parse_settings,
    set_settings,
    validate_settings,
)
from orchestrator.domain_xml.parse import parse_domain
from orchestrator.errors import DomainXmlError
from orchestrator.hypervisor.eventloop import ensure_event_loop
from orchestrator.values.domain_settings import GENERATIONS, DomainSettings, Mode
from orchestrator.values.units import MAX_KHZ, KHz
from tests.domain_xml.domains import domain_xml, read_golden
from tests.properties import examples

KHZ = st.none() | st.integers(1, MAX_KHZ).map(KHz)
ANSWER = st.none() | st.booleans()
LINES = ("utilisation", "workload low vcpus=1; time-of-day busy='sat 08:00-09:00'")
POLICIES = st.builds(
    DomainSettings,
    min_khz=KHZ,
    max_khz=KHZ,
    turbo=ANSWER,
    mode=st.none() | st.sampled_from(Mode),
    queries=ANSWER,
    energy_queries=ANSWER,
    guest_policies=ANSWER,
    rapl=ANSWER,
    generation=st.none() | st.sampled_from(GENERATIONS),
    onboard=ANSWER,
    policies=st.none() | st.sampled_from(LINES),
).filter(lambda it: not (it.min_khz and it.max_khz and it.min_khz > it.max_khz))
TRICKY = ("", "yes", "no", "Yes", "0", "1", "2.3", "2.3GHz", "800 MHz", "1200000", "-1")
MORE = ("12khz", "observe", "enforce", "464", "16", "9" * 11, "٣GHz", "1e3", "a b")
WORDS = st.sampled_from(TRICKY + MORE) | st.text(
    st.characters(codec="utf-8", exclude_categories=["C"]), max_size=12
)
NAMES = st.sampled_from(
    [
        *("min", "max", "turbo", "mode", "queries", "energy-queries"),
        *("guest-policies", "rapl", "generation", "onboard", "policies", "other"),
    ]
)


def with_metadata(inside: str) -> str:
    xml = domain_xml()
    return xml.replace("<devices>", f"<metadata>{inside}</metadata>\n  <devices>", 1)


def policy_xml(attributes: str, inside: str = "") -> str:
    return f"<v:policy xmlns:v='{POLICY_URI}' {attributes}>{inside}</v:policy>"


@pytest.mark.fuzz
@settings(max_examples=examples(60), deadline=None)
@given(POLICIES)
def test_written_settings_are_read_again(policy: DomainSettings) -> None:
    written = set_settings(read_golden("defined"), policy)
    found = parse_domain(written)
    assert found.settings == (None if policy.is_empty else policy)
    assert found.problems == parse_domain(read_golden("defined")).problems


@pytest.mark.fuzz
@settings(max_examples=examples(150), deadline=None)
@given(st.dictionaries(NAMES, WORDS), st.sampled_from(["", "text", "<a/>", "<v:a/>"]))
def test_reader_and_schema_agree_about_every_element(
    attributes: dict[str, str], inside: str
) -> None:
    element = etree.fromstring(policy_xml("", inside))
    for name, word in attributes.items():
        element.set(name, word)
    text = etree.tostring(element, encoding="unicode")
    found = parse_settings(with_metadata(text))
    try:
        validate_settings(text)
    except DomainXmlError:
        assert found.problems
    else:
        # Beyond what such a schema can express.
        beyond = ("min is above max", "expected 1 kHz to 100 GHz", "policies=")
        assert all(any(word in it for word in beyond) for it in found.problems)


def test_invalid_settings_are_reported_with_line_and_reason_and_ignored() -> None:
    xml = with_metadata(
        policy_xml("min='fast' max='2.4GHz'\n turbo='maybe' colour='red'", "<v:x/>")
    )
    found = parse_domain(xml)
    assert found.settings == DomainSettings(max_khz=KHz(2_400_000))
    line = xml.splitlines().index(next(s for s in xml.splitlines() if "v:policy" in s))
    reported = [problem.split(": ", 1) for problem in found.problems]
    assert {where for where, _ in reported} <= {
        f"metadata, line {line + 1}",
        f"metadata, line {line + 2}",
    }
    assert [what.split(":")[0] for _, what in reported] == [
        "unknown attribute 'colour'",
        "unknown element <x>",
        "min='fast'",
        "turbo='maybe'",
    ]


def test_invalid_policies_are_ignored() -> None:
    found = parse_settings(with_metadata(policy_xml("policies='speed' turbo='no'")))
    assert found.settings == DomainSettings(turbo=False)
    (problem,) = found.problems
    assert "policies='speed': unknown policy kind 'speed'" in problem
    with pytest.raises(DomainXmlError, match="policies: unknown policy kind 'speed'"):
        build_settings(DomainSettings(policies="speed"))


def test_the_former_name_of_an_option_of_a_policy_is_still_read() -> None:
    text = "utilisation calm-samples=7"
    found = parse_settings(with_metadata(policy_xml(f"policies='{text}'")))
    assert found.settings == DomainSettings(policies=text)
    assert found.problems == ()
    assert text in build_settings(DomainSettings(policies=text))


def test_contradictory_bounds_are_ignored() -> None:
    found = parse_settings(
        with_metadata(policy_xml("min='3GHz' max='2GHz' turbo='no'"))
    )
    assert found.settings == DomainSettings(turbo=False)
    assert "min is above max" in found.problems[0]
    with pytest.raises(DomainXmlError, match=r"min 3\.00 GHz is above max 2\.00"):
        build_settings(DomainSettings(min_khz=KHz(3_000_000), max_khz=KHz(2_000_000)))


@pytest.mark.parametrize(
    ("inside", "problem"),
    [
        (policy_xml("max='1GHz'") + policy_xml("max='2GHz'"), "more than one <policy>"),
        (f"<v:polity xmlns:v='{POLICY_URI}' max='1GHz'/>", "unknown element <polity>"),
        (policy_xml("max='" + "9" * 50_000 + "'"), "expected 2.3GHz, 2300MHz or kHz"),
        (policy_xml("max='0'"), "expected 1 kHz to 100 GHz"),
        (policy_xml("generation='465'"), "expected one of 16, 456, 460, 464"),
        (policy_xml(f"x{'y' * 9000}='1'"), "unknown attribute"),
    ],
)
def test_invalid_metadata_is_reported_in_one_line(inside: str, problem: str) -> None:
    found = parse_settings(with_metadata(inside))
    assert problem in found.problems[0]
    assert len(found.problems[0]) < 200


def test_foreign_metadata_is_ignored() -> None:
    xml = with_metadata(
        "<n:instance xmlns:n='http://nova' min='junk'><a/></n:instance>"
    )
    assert parse_settings(xml).settings is None
    assert parse_settings(xml).problems == ()


def test_settings_replace_the_present_ones_and_nothing_else() -> None:
    other = "<n:instance xmlns:n='http://nova'/>"
    xml = with_metadata(other + policy_xml("max='1GHz'"))
    changed = set_settings(xml, DomainSettings(turbo=False))
    assert parse_settings(changed).settings == DomainSettings(turbo=False)
    emptied = set_settings(changed, DomainSettings())
    assert etree.canonicalize(emptied) == etree.canonicalize(with_metadata(other))


def test_removing_the_only_settings_removes_the_metadata() -> None:
    xml = read_golden("defined")
    bare = xml if "<metadata" not in xml else domain_xml()
    written = set_settings(bare, DomainSettings(max_khz=KHz(1)))
    assert (
        parse_document(set_settings(written, DomainSettings())).find("metadata") is None
    )


def test_an_element_written_by_virsh_is_read() -> None:
    """`virsh metadata --key vmpower --set` gives libvirt a bare element."""
    ensure_event_loop()
    connection = libvirt.open("test:///default")
    try:
        domain = connection.lookupByName("test")
        kind = libvirt.VIR_DOMAIN_METADATA_ELEMENT
        given = "<policy max='2.4GHz' turbo='no'/>"
        domain.setMetadata(kind, given, POLICY_PREFIX, POLICY_URI, 0)
        found = parse_domain(domain.XMLDesc())
    finally:
        connection.close()
    assert found.settings == DomainSettings(max_khz=KHz(2_400_000), turbo=False)
    assert found.problems == ()
