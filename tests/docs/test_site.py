# SPDX-License-Identifier: Apache-2.0
"""The site contains every document, and refuses a link that leads nowhere."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from scripts import site
from tests.docs.documents import find_documents, name_of, read

if TYPE_CHECKING:
    from pathlib import Path


def test_every_document_is_in_the_site(tmp_path: Path) -> None:
    site.stage(tmp_path)
    staged = {path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*.md")}
    assert {name_of(document) for document in find_documents()} <= staged
    assert "docs/man/vmpower.1.md" in staged


def test_a_manual_page_is_plain_text(tmp_path: Path) -> None:
    site.stage(tmp_path)
    page = read(tmp_path / "docs/man/vmpowerd.8.md")
    assert page.startswith("# vmpowerd(8)\n")
    assert "--check-config" in page
    assert "\b" not in page


def test_the_site_is_built(tmp_path: Path) -> None:
    assert site.build(tmp_path / "stage", tmp_path / "site") == 0
    assert "docs/operating.html" in read(tmp_path / "site/index.html")


@pytest.mark.parametrize("link", ["docs/nowhere.md", "docs/faq.md#nowhere"])
def test_a_link_that_leads_nowhere_is_an_error(link: str, tmp_path: Path) -> None:
    stage = tmp_path / "stage"
    site.stage(stage)
    page = stage / "README.md"
    page.write_text(f"{read(page)}\n[nothing]({link})\n", encoding="utf-8")
    assert site.render(stage, tmp_path / "site") != 0


def test_every_page_but_decisions_is_in_the_navigation() -> None:
    navigation = read(site.CONFIG).partition("\nnav:")[2]
    pages = map(name_of, find_documents())
    missing = [page for page in pages if page not in navigation]
    assert [page for page in missing if "/decisions/" not in page] == []
