# SPDX-License-Identifier: Apache-2.0
"""Every row of docs/conformance.md has a test, or the reason why not."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

TESTS = Path(__file__).parents[1]
DOCUMENT = TESTS.parent / "docs" / "conformance.md"
_NUMBER = re.compile(r"[A-Z]+\d+")
_TEST = re.compile(r"`([\w/]+\.py)::(\w+)`")


def _rows() -> dict[str, str]:
    lines = DOCUMENT.read_text(encoding="utf-8").splitlines()
    rows = [line.strip("| ").split(" | ") for line in lines if line.startswith("| ")]
    return {cells[0]: cells[-1] for cells in rows if _NUMBER.fullmatch(cells[0])}


ROWS = _rows()


def test_every_number_has_a_row() -> None:
    due = {"W": 17, "S": 17, "T": 13}
    for letter, count in due.items():
        assert {f"{letter}{n}" for n in range(1, count + 1)} <= ROWS.keys()


@pytest.mark.parametrize("number", ROWS)
def test_each_row_names_existing_tests_or_why_it_does_not_apply(number: str) -> None:
    named = _TEST.findall(ROWS[number])
    assert named or ROWS[number].startswith("does not apply")
    for file, test in named:
        text = (TESTS / file).read_text(encoding="utf-8")
        found = re.search(rf"def {test}\(.*?(?=\n(?:async )?def |\Z)", text, re.DOTALL)
        assert found, f"{file} has no {test}"
        words = test.split("_")
        is_named = number.lower() in words or f'"""{number}' in found[0]
        assert is_named, f"{test} is not named after {number}"
