# SPDX-License-Identifier: Apache-2.0
"""Renders sheets as plain text, as virsh does: for pipes and simple terminals."""

from __future__ import annotations

from typing import TYPE_CHECKING
from unicodedata import east_asian_width

from cli.output.tables.sheet import Bar

if TYPE_CHECKING:
    from cli.output.tables.sheet import Cell, Field, Sheet

_GAP = "   "


def render_plain(sheets: tuple[Sheet, ...]) -> list[str]:
    """Render sheets as lines: one leading space, a rule under the titles."""
    lines: list[str] = []
    for sheet in sheets:
        blocks = [_facts(sheet), _table(sheet), [f" {_text(n)}" for n in sheet.notes]]
        for block in filter(None, blocks):
            lines += ["", *block] if lines else block
    return lines


def _facts(sheet: Sheet) -> list[str]:
    width = max((len(label) for label, _ in sheet.facts), default=0) + 1
    return [f" {label + ':':<{width}} {_text(cell)}" for label, cell in sheet.facts]


def _table(sheet: Sheet) -> list[str]:
    kept = [i for i, column in enumerate(sheet.columns) if not column.is_picture]
    if not kept:
        return []
    titles = [sheet.columns[i].title for i in kept]
    rows = [[_text(row[i]) for i in kept] for row in sheet.rows]
    widths = [max(map(_cells, column)) for column in zip(titles, *rows, strict=True)]
    lines = [_line(texts, widths) for texts in (titles, *rows)]
    rule = "-" * (sum(widths) + len(_GAP) * len(widths) + 1)
    return [lines[0], rule, *lines[1:]]


def _line(texts: list[str], widths: list[int]) -> str:
    padded = (
        text + " " * (width - _cells(text))
        for text, width in zip(texts, widths, strict=True)
    )
    return f" {_GAP.join(padded)}".rstrip()


def _text(field: Field | Cell) -> str:
    if isinstance(field, Bar):
        return ""
    return field.text if field.bare is None else field.bare


def _cells(text: str) -> int:
    """Count terminal columns; wide characters (CJK) take two."""
    return sum(2 if east_asian_width(char) in "WF" else 1 for char in text)
