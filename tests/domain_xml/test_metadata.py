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
    build_policy,
    parse_policy,
    set_policy,
    validate_policy,
)
from orchestrator.domain_xml.parse import parse_domain
from orchestrator.errors import DomainXmlError
from orchestrator.hypervisor.eventloop import ensure_event_loop
from orchestrator.values.domain_settings import GENERATIONS, DomainPolicy, Mode
from orchestrator.values.units import MAX_KHZ, KHz
from tests.domain_xml.domains import domain_xml, read_golden

KHZ = st.none() | st.integers(1, MAX_KHZ).map(KHz)
ANSWER = st.none() | st.booleans()
LINES = ("utilisation", "workload low vcpus=1; time-of-day busy='sat 08:00-09:00'")
POLICIES = st.builds(
    DomainPolicy,
    min_khz=KHZ,
    max_khz=KHZ,
    turbo=ANSWER,
    mode=st.none() | st.sampled_from(Mode),
    queries=ANSWER,
    guest_policies=ANSWER,
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
        *("min", "max", "turbo", "mode", "queries", "guest-policies"),
        *("generation", "onboard", "policies", "other"),
    ]
)


def with_metadata(inside: str) -> str:
    xml = domain_xml()
    return xml.replace("<devices>", f"<metadata>{inside}</metadata>\n  <devices>", 1)


def policy_xml(attributes: str, inside: str = "") -> str:
    return f"<v:policy xmlns:v='{POLICY_URI}' {attributes}>{inside}</v:policy>"


@settings(max_examples=60, deadline=None)
@given(POLICIES)
def test_what_is_written_is_read_again(policy: DomainPolicy) -> None:
    written = set_policy(read_golden("defined"), policy)
    found = parse_domain(written)
    assert found.policy == (None if policy.is_empty else policy)
    assert found.problems == parse_domain(read_golden("defined")).problems


@settings(max_examples=150, deadline=None)
@given(st.dictionaries(NAMES, WORDS), st.sampled_from(["", "text", "<a/>", "<v:a/>"]))
def test_reader_and_schema_agree_about_every_element(
    attributes: dict[str, str], inside: str
) -> None:
    element = etree.fromstring(policy_xml("", inside))
    for name, word in attributes.items():
        element.set(name, word)
    text = etree.tostring(element, encoding="unicode")
    found = parse_policy(with_metadata(text))
    try:
        validate_policy(text)
    except DomainXmlError:
        assert found.problems
    else:
        # What no schema of this kind can say.
        beyond = ("min is above max", "expected 1 kHz to 100 GHz", "policies=")
        assert all(any(word in it for word in beyond) for it in found.problems)


def test_junk_is_reported_with_line_and_reason_and_the_rest_holds() -> None:
    xml = with_metadata(
        policy_xml("min='fast' max='2.4GHz'\n turbo='maybe' colour='red'", "<v:x/>")
    )
    found = parse_domain(xml)
    assert found.policy == DomainPolicy(max_khz=KHz(2_400_000))
    line = xml.splitlines().index(next(s for s in xml.splitlines() if "v:policy" in s))
    told = [problem.split(": ", 1) for problem in found.problems]
    assert {where for where, _ in told} <= {
        f"metadata, line {line + 1}",
        f"metadata, line {line + 2}",
    }
    assert [what.split(":")[0] for _, what in told] == [
        "attribute 'colour' is unknown",
        "<x> is unknown",
        "min='fast'",
        "turbo='maybe'",
    ]


def test_policies_that_cannot_be_meant_do_not_count() -> None:
    found = parse_policy(with_metadata(policy_xml("policies='speed' turbo='no'")))
    assert found.policy == DomainPolicy(turbo=False)
    (problem,) = found.problems
    assert problem.endswith("policies='speed': 'speed' is no kind of policy")
    with pytest.raises(DomainXmlError, match="policies: 'speed' is no kind"):
        build_policy(DomainPolicy(policies="speed"))


def test_bounds_that_contradict_each_other_do_not_count() -> None:
    found = parse_policy(with_metadata(policy_xml("min='3GHz' max='2GHz' turbo='no'")))
    assert found.policy == DomainPolicy(turbo=False)
    assert "min is above max" in found.problems[0]
    with pytest.raises(DomainXmlError, match="above the highest"):
        build_policy(DomainPolicy(min_khz=KHz(2), max_khz=KHz(1)))


@pytest.mark.parametrize(
    ("inside", "says"),
    [
        (policy_xml("max='1GHz'") + policy_xml("max='2GHz'"), "there twice"),
        (f"<v:polity xmlns:v='{POLICY_URI}' max='1GHz'/>", "<polity> is unknown"),
        (policy_xml("max='" + "9" * 50_000 + "'"), "no frequency"),
        (policy_xml("max='0'"), "expected 1 kHz to 100 GHz"),
        (policy_xml("generation='465'"), "none of 16, 456, 460, 464"),
        (policy_xml(f"x{'y' * 9000}='1'"), "is unknown"),
    ],
)
def test_strange_metadata_is_told_in_a_line(inside: str, says: str) -> None:
    found = parse_policy(with_metadata(inside))
    assert says in found.problems[0]
    assert len(found.problems[0]) < 200


def test_metadata_of_others_is_nobodys_business() -> None:
    xml = with_metadata(
        "<n:instance xmlns:n='http://nova' min='junk'><a/></n:instance>"
    )
    assert parse_policy(xml).policy is None
    assert parse_policy(xml).problems == ()


def test_a_policy_replaces_the_one_there_and_nothing_else() -> None:
    other = "<n:instance xmlns:n='http://nova'/>"
    xml = with_metadata(other + policy_xml("max='1GHz'"))
    changed = set_policy(xml, DomainPolicy(turbo=False))
    assert parse_policy(changed).policy == DomainPolicy(turbo=False)
    emptied = set_policy(changed, DomainPolicy())
    assert etree.canonicalize(emptied) == etree.canonicalize(with_metadata(other))


def test_a_domain_that_had_no_metadata_has_none_afterwards() -> None:
    xml = read_golden("defined")
    bare = xml if "<metadata" not in xml else domain_xml()
    written = set_policy(bare, DomainPolicy(max_khz=KHz(1)))
    assert parse_document(set_policy(written, DomainPolicy())).find("metadata") is None


def test_what_virsh_writes_is_understood() -> None:
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
    assert found.policy == DomainPolicy(max_khz=KHz(2_400_000), turbo=False)
    assert found.problems == ()
