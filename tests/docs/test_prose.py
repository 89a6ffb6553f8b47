# SPDX-License-Identifier: Apache-2.0
"""Documents are narrow enough to be reviewed line by line."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.docs.documents import find_documents, name_of, prose_of

if TYPE_CHECKING:
    from pathlib import Path

MOST_COLUMNS = 100
WRAPPED = [page for page in find_documents() if page.name != "CHANGELOG.md"]


@pytest.mark.parametrize("document", WRAPPED, ids=name_of)
def test_prose_is_wrapped(document: Path) -> None:
    lines = enumerate(prose_of(document).splitlines(), 1)
    assert [(n, line) for n, line in lines if is_too_long(line)] == []


def is_too_long(line: str) -> bool:
    """Return whether a line should be broken, and can be."""
    if line.startswith(("|", "    ")):  # a table, code
        return False
    return len(line) > MOST_COLUMNS and " " in line.lstrip("*- ").strip()
