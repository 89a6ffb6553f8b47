# SPDX-License-Identifier: Apache-2.0
"""Links in documents lead somewhere, and files that are named there exist."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest

from tests.docs.documents import (
    ROOT,
    anchors_of,
    find_documents,
    name_of,
    prose_of,
    read,
)

if TYPE_CHECKING:
    from pathlib import Path

_LINK = re.compile(r"\]\(([^()\s]+)\)")
_FILE = re.compile(
    r"`((?:orchestrator|cli|domain_templates|tests|examples|scripts|bench|docs|\.ci)/"
    r"[\w./-]*\w/?)`"
)
_HEADING_IN_CODE = re.compile(r'docs/design\.md, "([^"]+)"')
_CODE = ["orchestrator", "cli", "domain_templates", "tests", "examples", "scripts"]

documents = pytest.mark.parametrize("document", find_documents(), ids=name_of)


@documents
def test_links_lead_to_files_and_headings(document: Path) -> None:
    targets = _LINK.findall(prose_of(document))
    assert [link for link in targets if not _is_there(document, link)] == []


def _is_there(document: Path, link: str) -> bool:
    if link.startswith("https://"):
        return True
    file, _, anchor = link.partition("#")
    target = (document.parent / file).resolve() if file else document
    if not target.exists():
        return False
    return not anchor or (target.suffix == ".md" and anchor in anchors_of(target))


@documents
def test_files_that_are_named_exist(document: Path) -> None:
    named = _FILE.findall(prose_of(document))
    assert [name for name in named if not (ROOT / name).exists()] == []


def test_links_are_found_at_all() -> None:
    text = prose_of(ROOT / "docs" / "README.md")
    assert len(_LINK.findall(text)) > 10


def test_code_refers_to_headings_that_the_design_has() -> None:
    headings = re.findall(r"^#+ (.+)$", read(ROOT / "docs/design.md"), re.MULTILINE)
    referred = {
        words
        for package in _CODE
        for path in (ROOT / package).rglob("*.py")
        for words in _HEADING_IN_CODE.findall(read(path))
    }
    assert referred
    assert [w for w in referred if not any(w in h for h in headings)] == []
