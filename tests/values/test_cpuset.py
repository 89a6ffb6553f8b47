from __future__ import annotations

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
def test_a_list_is_read_as_libvirt_reads_it(text: str, cpus: set[int]) -> None:
    assert parse_cpulist(text) == cpus


@pytest.mark.parametrize(
    "text", ["a", "3-1", "1-", "-1", "1,,2", "8192", "0-99999999", "²", "1-2-3", "0x1"]
)
def test_a_typo_is_named(text: str) -> None:
    with pytest.raises(ConfigError, match="CPU list"):
        parse_cpulist(text)


@given(st.sets(st.integers(0, 8191), max_size=60).filter(bool))
def test_what_is_written_reads_back(cpus: set[int]) -> None:
    assert parse_cpulist(format_cpulist(cpus)) == cpus


def test_no_cpus_are_a_dash() -> None:
    assert format_cpulist(()) == "-"


def test_cpus_are_named_as_people_do() -> None:
    assert name_cpus([3]) == "CPU 3"
    assert name_cpus([2, 3, 8]) == "CPUs 2-3,8"
