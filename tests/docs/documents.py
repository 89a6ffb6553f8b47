# SPDX-License-Identifier: Apache-2.0
"""The documents that people read, and how they are written."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
TOP = ["README.md", "CONTRIBUTING.md", "SECURITY.md", "CHANGELOG.md", "tests/README.md"]


def find_documents() -> list[Path]:
    """Return every document, the pages of docs/ included."""
    top = [ROOT / name for name in TOP if (ROOT / name).is_file()]
    return [*top, *sorted((ROOT / "docs").rglob("*.md"))]


def name_of(document: Path) -> str:
    """Return a document's path in the repository; also its id in tests."""
    return document.relative_to(ROOT).as_posix()


def read(document: Path) -> str:
    return document.read_text(encoding="utf-8")


def blocks_of(document: Path, kind: str) -> list[str]:
    """Return the fenced blocks of one language."""
    return re.findall(
        rf"^```{kind}\n(.*?)^```", read(document), re.MULTILINE | re.DOTALL
    )


def prose_of(document: Path) -> str:
    """Return the text without fenced blocks; lines keep their numbers."""
    fence = re.compile(r"^ *```.*?^ *```$", re.MULTILINE | re.DOTALL)
    return fence.sub(lambda block: "\n" * block[0].count("\n"), read(document))


def anchors_of(document: Path) -> set[str]:
    """Return the anchors that GitHub gives to the headings."""
    found: set[str] = set()
    for heading in re.findall(r"^#+ (.+)$", prose_of(document), re.MULTILINE):
        text = re.sub(r"\[([^]]*)\]\([^)]*\)", r"\1", heading)
        slug = re.sub(r"[^\w\- ]", "", text.lower()).replace(" ", "-")
        number = sum(
            re.fullmatch(rf"{re.escape(slug)}(-\d+)?", a) is not None for a in found
        )
        found.add(f"{slug}-{number}" if number else slug)
    return found
