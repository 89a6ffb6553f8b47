# SPDX-License-Identifier: Apache-2.0
"""Each row of docs/reliability.md names tests, and they exist."""

from __future__ import annotations

import re

import pytest

from tests.docs.documents import ROOT, read

PAGE = read(ROOT / "docs" / "reliability.md")
ROWS = [
    [cell.strip() for cell in line.strip("|").split("|")]
    for line in PAGE.splitlines()
    if line.startswith("| ") and not line.endswith("| Test |")
]
NAMED = sorted(set(re.findall(r"`(tests/[\w/]+\.py)::(\w+)`", PAGE)))
_TEST = re.compile(r"`tests/[\w/]+\.py(?:::test_\w+)?`")


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row[0][:40])
def test_a_row_says_what_happens_how_long_it_takes_and_which_test_does_it(
    row: list[str],
) -> None:
    fault, outcome, time, tests = row
    assert all((fault, outcome, time))
    assert all(map(_TEST.fullmatch, tests.split(", "))), tests


@pytest.mark.parametrize(("file", "name"), NAMED)
def test_a_named_test_exists(file: str, name: str) -> None:
    assert re.search(rf"^(?:async )?def {name}\(", read(ROOT / file), re.MULTILINE)


def test_every_sweep_is_on_the_page() -> None:
    sweeps = {
        (path.relative_to(ROOT).as_posix(), name)
        for path in (ROOT / "tests" / "reliability").glob("test_*.py")
        for name in re.findall(r"^def (test_\w+)\(", read(path), re.MULTILINE)
    }
    assert len(ROWS) > 30
    assert sweeps
    assert sweeps <= set(NAMED)
