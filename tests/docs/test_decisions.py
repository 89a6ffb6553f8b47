# SPDX-License-Identifier: Apache-2.0
"""Decisions are numbered without gaps, listed once each, and have their three parts."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest

from tests.docs.documents import ROOT, find_documents, name_of, read

if TYPE_CHECKING:
    from pathlib import Path

DIRECTORY = ROOT / "docs" / "decisions"
PAGES = sorted(DIRECTORY.glob("[0-9]*.md"))


def test_numbers_have_no_gaps() -> None:
    assert [int(page.name[:4]) for page in PAGES] == [*range(1, len(PAGES) + 1)]
    assert len(PAGES) > 30


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name[:4])
def test_a_page_is_context_decision_and_consequence(page: Path) -> None:
    headings = re.findall(r"^(#+) (.+)$", read(page), re.MULTILINE)
    (level, title), *sections = headings
    assert (level, title[:5]) == ("#", f"{page.name[:4]} ")
    assert sections == [("##", "Context"), ("##", "Decision"), ("##", "Consequence")]


def test_the_index_lists_every_page_once_under_its_title() -> None:
    rows = re.findall(
        r"^\| \[(\d{4})\]\((\S+)\) \| (.+) \|$",
        read(DIRECTORY / "README.md"),
        re.MULTILINE,
    )
    titles = [
        (page.name[:4], page.name, read(page).splitlines()[0][7:]) for page in PAGES
    ]
    assert sorted(rows) == titles


def test_a_link_to_a_decision_has_its_number() -> None:
    links = [
        (name_of(document), label, number)
        for document in find_documents()
        for label, number in re.findall(
            r"\[(?:decision )?(\d{4})\]\([^)]*?(\d{4})-[^)]*\.md\)", read(document)
        )
    ]
    assert len(links) > len(PAGES)
    assert [link for link in links if link[1] != link[2]] == []
