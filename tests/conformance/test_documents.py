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


def test_each_area_of_dpdk_s_test_plans_has_tests_of_that_name() -> None:
    text = DOCUMENT.read_text(encoding="utf-8")
    rows = [row for row in text.partition("| Area |")[2].splitlines() if row[:1] == "|"]
    assert len(rows) > 12
    named = {row: [name for _, name in _REFERENCE.findall(row)] for row in rows[1:]}
    strange = [
        name
        for names in named.values()
        for name in names
        if not name.startswith("test_dts_")
    ]
    assert strange == []


def test_each_number_has_its_row() -> None:
    rows = re.findall(
        r"^\| (F\d+) \|", DOCUMENT.read_text(encoding="utf-8"), re.MULTILINE
    )
    assert rows == [f"F{number}" for number in range(1, 26)]
