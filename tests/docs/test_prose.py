"""How documents for contributors are written: narrow enough to review line by line."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.docs.documents import ROOT, name_of, prose_of

if TYPE_CHECKING:
    from pathlib import Path

MOST_COLUMNS = 100
WRAPPED = [
    *(ROOT / "docs" / name for name in ("README.md", "architecture.md", "design.md")),
    *(ROOT / "docs" / "glossary.md", ROOT / "CONTRIBUTING.md", ROOT / "SECURITY.md"),
    ROOT / "tests" / "README.md",
    *sorted((ROOT / "docs" / "decisions").glob("*.md")),
]


@pytest.mark.parametrize("document", WRAPPED, ids=name_of)
def test_prose_is_wrapped(document: Path) -> None:
    lines = enumerate(prose_of(document).splitlines(), 1)
    assert [
        (number, line)
        for number, line in lines
        if len(line) > MOST_COLUMNS and not line.startswith("|")
    ] == []
