# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.errors import ConfigError
from orchestrator.values.cpuset import format_cpulist, name_cpus, parse_cpulist


@pytest.mark.parametrize(
    ("text", "cpus"),
    [
        ("", set()),
        ("3", {3}),
        ("0-3", {0, 1, 2, 3}),
        ("0-3,^2", {0, 1, 3}),
        ("2-5,8\n", {2, 3, 4, 5, 8}),
        (" 1 , 4 ", {1, 4}),
        ("^1,1", {1}),
    ],
)
def test_a_list_is_parsed_as_libvirt_parses_it(text: str, cpus: set[int]) -> None:
    assert parse_cpulist(text) == cpus


EXPECTED = "expected numbers and ranges, as in 2-5,8"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a", f"invalid CPU 'a': {EXPECTED}"),
        ("3-1", "invalid CPU range '3-1': start is greater than end"),
        ("1-", f"invalid CPU '1-': {EXPECTED}"),
        ("-1", f"invalid CPU '-1': {EXPECTED}"),
        ("1,,2", f"invalid CPU '': {EXPECTED}"),
        ("1, 2x", f"invalid CPU '2x': {EXPECTED}"),
        ("8192", "invalid CPU '8192': the highest is 8191"),
        ("0-99999999", "invalid CPU '0-99999999': the highest is 8191"),
        ("9" * 5000, f"invalid CPU '{'9' * 40}': the highest is 8191"),
        ("9" * 5000 + "-1", f"range '{'9' * 40}': start is greater than end"),
        ("²", f"invalid CPU '²': {EXPECTED}"),
        ("1-2-3", f"invalid CPU '1-2-3': {EXPECTED}"),
        ("0x1", f"invalid CPU '0x1': {EXPECTED}"),
    ],
)
def test_an_invalid_list_is_refused_with_the_reason(text: str, message: str) -> None:
    with pytest.raises(ConfigError, match=re.escape(message)):
        parse_cpulist(text)


def test_the_error_names_what_is_listed() -> None:
    with pytest.raises(ConfigError, match="invalid channel '0-'"):
        parse_cpulist("0-", noun="channel")


@given(st.sets(st.integers(0, 8191), max_size=60).filter(bool))
def test_a_formatted_list_is_parsed_to_the_same_set(cpus: set[int]) -> None:
    assert parse_cpulist(format_cpulist(cpus)) == cpus


def test_an_empty_list_is_formatted_as_a_dash() -> None:
    assert format_cpulist(()) == "-"


def test_cpus_are_named_in_singular_or_plural() -> None:
    assert name_cpus([3]) == "CPU 3"
    assert name_cpus([2, 3, 8]) == "CPUs 2-3,8"
