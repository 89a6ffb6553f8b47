# SPDX-License-Identifier: Apache-2.0
"""The note about a guest's policies in a domain's metadata."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from lxml import etree

from orchestrator.domain_xml.guest_policies import (
    GUEST_POLICIES_URI,
    build_guest_policies,
    read_guest_policies,
)
from orchestrator.values.domain import GuestPolicy

WORD = st.text("abcdef0123456789:", min_size=1, max_size=17)
TEXT = st.text(
    st.characters(min_codepoint=32, max_codepoint=0x2FF), min_size=1, max_size=80
)
POLICIES = st.lists(
    st.builds(
        GuestPolicy,
        channel=st.integers(0, 1279),
        text=TEXT,
        macs=st.none() | st.lists(WORD, max_size=3).map(tuple),
    ),
    max_size=4,
).map(tuple)


def read(inside: str) -> tuple[GuestPolicy, ...]:
    """Read what is inside the element, as libvirt keeps it."""
    uri = GUEST_POLICIES_URI
    element = f'<v:sent xmlns:v="{uri}">{inside}</v:sent>'
    return read_guest_policies(
        etree.fromstring(f"<domain><metadata>{element}</metadata></domain>")
    )


@given(POLICIES)
def test_what_is_noted_is_read_again(policies: tuple[GuestPolicy, ...]) -> None:
    element = build_guest_policies(policies)
    if element is None:
        assert policies == ()
        return
    inside = element.removeprefix("<sent>").removesuffix("</sent>")
    assert read(inside) == policies


def test_a_domain_without_the_element_has_none() -> None:
    assert read_guest_policies(etree.fromstring("<domain/>")) == ()


@pytest.mark.parametrize(
    "attributes",
    [
        "",
        'channel="0"',
        'text="workload low"',
        'channel="-1" text="workload low"',
        'channel="1280" text="workload low"',
        'channel="99999" text="workload low"',
        'channel="\u0661" text="workload low"',
    ],
)
def test_an_invalid_policy_is_left_out(attributes: str) -> None:
    valid = '<policy channel="1" text="workload high"/>'
    assert read(f"<policy {attributes}/><!-- x -->{valid}") == (
        GuestPolicy(channel=1, text="workload high"),
    )
