# SPDX-License-Identifier: Apache-2.0
"""Renders sheets for a terminal, with rich."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.cells import cell_len
from rich.console import Console, Group
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from cli.output.tables.sheet import Bar, Cell, Column, Sheet, Style

if TYPE_CHECKING:
    from rich.console import RenderableType

    from cli.output.tables.sheet import Field

RICH_STYLES = {
    Style.PLAIN: "",
    Style.NAME: "bold",
    Style.GOOD: "cyan",
    Style.NOTABLE: "yellow",
    Style.BAD: "red",
    Style.QUIET: "dim",
}
BAR_CELLS = 10
_GAP_CELLS = 2
_NOTE_MARK = "•"


def print_styled(sheets: tuple[Sheet, ...]) -> None:
    """Draw sheets on standard output, in its width."""
    console = Console(highlight=False, soft_wrap=False)
    console.print(render_styled(sheets, console.width))


def render_styled(sheets: tuple[Sheet, ...], width: int) -> RenderableType:
    """Draw sheets in a given width."""
    blocks: list[RenderableType] = []
    for sheet in sheets:
        for part in (_facts(sheet), _table(fit(sheet, width - 1)), _notes(sheet)):
            if part is not None:
                blocks += [Text(""), part] if blocks else [part]
    return Padding(Group(*blocks), (0, 0, 0, 1), expand=False)


def fit(sheet: Sheet, width: int) -> Sheet:
    """Drop columns, the least important first, until the table fits."""
    kept = list(range(len(sheet.columns)))
    while _width(sheet, kept) > width:
        droppable = [i for i in kept if sheet.columns[i].rank]
        if not droppable:
            break
        kept.remove(max(droppable, key=lambda i: sheet.columns[i].rank))
    return Sheet(
        facts=sheet.facts,
        columns=tuple(sheet.columns[i] for i in kept),
        rows=tuple(tuple(row[i] for i in kept) for row in sheet.rows),
        notes=sheet.notes,
    )


def _width(sheet: Sheet, kept: list[int]) -> int:
    return _GAP_CELLS * (len(kept) - 1) + sum(
        max(
            cell_len(sheet.columns[i].title), *(_cells(row[i]) for row in sheet.rows), 0
        )
        for i in kept
    )


def _cells(field: Field) -> int:
    return BAR_CELLS if isinstance(field, Bar) else cell_len(field.text)


def _facts(sheet: Sheet) -> RenderableType | None:
    if not sheet.facts:
        return None
    grid = Table.grid(padding=(0, _GAP_CELLS, 0, 0))
    for label, cell in sheet.facts:
        grid.add_row(Text(label, "dim"), _text(cell))
    return grid


def _table(sheet: Sheet) -> RenderableType | None:
    if not sheet.columns:
        return None
    table = Table(
        box=None, padding=(0, _GAP_CELLS, 0, 0), pad_edge=False, header_style="dim"
    )
    for column in sheet.columns:
        table.add_column(
            Text(column.title),
            justify="right" if column.is_right else "left",
            no_wrap=column.is_picture or column.is_right,
        )
    above: tuple[Field, ...] | None = None
    for row in sheet.rows:
        table.add_row(*_row(row, above, sheet.columns))
        above = row
    return table


def _row(
    row: tuple[Field, ...], above: tuple[Field, ...] | None, columns: tuple[Column, ...]
) -> list[Text]:
    """Draw a row; grouping columns are blank if the row above has the same value."""
    is_same, drawn = above is not None, []
    for index, (field, column) in enumerate(zip(row, columns, strict=True)):
        is_same = is_same and column.is_grouping and above is not None
        is_same = is_same and above is not None and above[index] == field
        drawn.append(Text("") if is_same else _text(field))
    return drawn


def _text(field: Field) -> Text:
    if isinstance(field, Cell):
        return Text(field.text, RICH_STYLES[field.style])
    if field.fraction is None:
        return Text("")
    filled = round(field.fraction * BAR_CELLS)
    bar = Text("━" * filled, RICH_STYLES[field.style])
    return bar.append("─" * (BAR_CELLS - filled), "bright_black")


def _notes(sheet: Sheet) -> RenderableType | None:
    if not sheet.notes:
        return None
    grid = Table.grid(padding=(0, 1, 0, 0))
    for note in sheet.notes:
        grid.add_row(Text(_NOTE_MARK, RICH_STYLES[note.style]), Text(note.text))
    return grid
