# SPDX-License-Identifier: Apache-2.0
"""The glossary is sorted, and explains each term once and briefly."""

from __future__ import annotations

import re

import pytest

from tests.docs.documents import ROOT, read

MOST_SENTENCES = 3
ENTRIES = re.findall(
    r"^### (.+)\n\n((?:.+\n)+)", read(ROOT / "docs" / "glossary.md"), re.MULTILINE
)
TERMS = [term for term, _ in ENTRIES]


def test_terms_are_sorted_and_explained_once() -> None:
    assert len(TERMS) > 50
    assert sorted(set(TERMS), key=str.lower) == TERMS


@pytest.mark.parametrize(("term", "text"), ENTRIES, ids=TERMS)
def test_an_explanation_is_short(term: str, text: str) -> None:
    sentences = re.findall(r"[.](?=\s)", text)
    assert 1 <= len(sentences) <= MOST_SENTENCES, term
