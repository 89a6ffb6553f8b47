# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import tomllib

import pytest

from orchestrator.config_lines import KeyLines

TEXT = """\
# mode = "observe"
mode = "enforce"
bounds.turbo = true

[energy]  # of the host
currency = "EUR"
[[domain]]
match = '''
[power]
x = 1'''
max_khz = 1
[[ domain ]]
policies = [
    "traffic",  # ]
    { kind = "workload", workload = "low" },
]
[power]
drift = "yield"
"""


@pytest.mark.parametrize("line_end", ["\n", "\r\n"])
@pytest.mark.parametrize(
    ("key", "line"),
    [
        ("mode", 2),
        ("bounds.turbo", 3),
        ("bounds", 3),
        ("energy", 5),
        ("energy.currency", 6),
        ("domain", None),
        ("domain[0]", 7),
        ("domain[0].match", 8),
        ("domain[0].missing", 7),
        ("domain[0].max_khz", 11),
        ("domain[1]", 12),
        ("domain[1].policies[1].kind", 13),
        ("power.drift", 18),
        ("absent.key", None),
        ("", None),
    ],
)
def test_the_line_of_a_key_is_found(key: str, line: int | None, line_end: str) -> None:
    tomllib.loads(TEXT)
    assert KeyLines(TEXT.replace("\n", line_end)).find(key) == line


def test_a_statement_that_is_too_long_ends_the_search() -> None:
    text = "a = 1\nb = [\n" + "1,\n" * 1_000 + "]\nc = 1\n"
    lines = KeyLines(text)
    assert [lines.find(key) for key in "abc"] == [1, None, None]
