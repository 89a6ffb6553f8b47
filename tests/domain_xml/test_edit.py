# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.domain_xml.channel import build_channel
from orchestrator.domain_xml.edit import add_channels, find_channel, remove_channels
from orchestrator.domain_xml.parse import parse_domain
from orchestrator.errors import DomainXmlError
from orchestrator.values.domain import MAX_CHANNEL_NUMBER
from tests.domain_xml.domains import domain_xml, read_golden

SETS = st.frozensets(st.integers(0, MAX_CHANNEL_NUMBER), max_size=70)


def test_channels_are_added_as_in_the_golden_file() -> None:
    edited = add_channels(read_golden("defined"), [2, 1, 0])
    assert parse_domain(edited) == parse_domain(read_golden("defined-with-three"))
    assert [line.strip() for line in edited.splitlines()] == [
        line.strip().replace("'", '"')
        for line in read_golden("defined-with-three").splitlines()
    ]


@given(SETS)
def test_adding_channels_is_idempotent(numbers: frozenset[int]) -> None:
    once = add_channels(read_golden("defined"), numbers)
    assert add_channels(once, numbers) == once
    assert {item.number for item in parse_domain(once).channels} == {0} | numbers


@given(SETS)
def test_controllers_are_added_for_all_channels(numbers: frozenset[int]) -> None:
    edited = add_channels(domain_xml(run=-1), numbers)
    assert parse_domain(edited).free_ports == -len(numbers) % 30


@given(st.frozensets(st.integers(1, 20)))
def test_removing_added_channels_restores_the_text(
    numbers: frozenset[int],
) -> None:
    before = add_channels(read_golden("defined"), [])
    after = remove_channels(add_channels(before, numbers), numbers)
    assert after == before


def test_only_the_given_numbers_are_removed_and_everything_else_stays() -> None:
    edited = remove_channels(read_golden("live"), [0, 9, 77])
    parsed = parse_domain(edited)
    assert [item.number for item in parsed.channels] == [2]
    for kept in ("org.qemu.guest_agent.0", "nova:instance", "kept for it -->"):
        assert kept in edited


def test_duplicates_of_a_channel_are_removed() -> None:
    xml = domain_xml(build_channel(4), build_channel(4), build_channel(5))
    assert "poweragent.4" not in remove_channels(xml, [4])


def test_channels_with_invalid_numbers_are_never_touched() -> None:
    before = add_channels(read_golden("odd-channels"), [])
    after = remove_channels(before, range(MAX_CHANNEL_NUMBER + 1))
    assert "99999999999999999999" in after
    assert "poweragent.-1" in after


def test_the_whole_element_of_a_channel_is_found() -> None:
    element = find_channel(read_golden("live"), 2)
    assert element is not None
    assert element.startswith("<channel")
    assert element.endswith("</channel>")
    assert 'name="channel1"' in element
    assert find_channel(read_golden("live"), 3) is None


def test_a_number_that_no_guest_can_use_is_not_added() -> None:
    with pytest.raises(DomainXmlError):
        add_channels(read_golden("defined"), [MAX_CHANNEL_NUMBER + 1])
