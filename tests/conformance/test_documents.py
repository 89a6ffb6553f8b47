"""The tests that documents name are there."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
DOCUMENT = ROOT / "docs" / "conformance-functions.md"
_REFERENCE = re.compile(r"`(tests/[\w/]+\.py)(?:::(\w+))?`")


def test_each_test_that_the_table_of_functions_names_exists() -> None:
    references = _REFERENCE.findall(DOCUMENT.read_text(encoding="utf-8"))
    assert len(references) > 40
    missing = [
        f"{file}::{name}"
        for file, name in references
        if not re.search(
            rf"^(async )?def {name}\(" if name else "",
            (ROOT / file).read_text(encoding="utf-8"),
            re.MULTILINE,
        )
    ]
    assert missing == []


def test_each_number_has_its_row() -> None:
    rows = re.findall(
        r"^\| (F\d+) \|", DOCUMENT.read_text(encoding="utf-8"), re.MULTILINE
    )
    assert rows == [f"F{number}" for number in range(1, 26)]
