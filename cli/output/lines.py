# SPDX-License-Identifier: Apache-2.0
"""Lines of a full-screen page: arranged in columns, truncated, never wrapped."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from rich.text import Text

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.console import Console, ConsoleOptions, RenderResult

GAP = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class ScreenColumn:
    """One column of a full-screen table."""

    title: str
    width: int
    is_right: bool = False
    rank: int = 0
    """The highest rank is dropped first on a narrow screen; 0 is always shown."""
    stretch: int = 0
    """How many cells it may grow on a wide screen."""


class Lines:
    """A rich renderable: one screen line per text, truncated to the width."""

    def __init__(self, lines: Sequence[Text]) -> None:
        self.lines = lines

    def __rich_console__(
        self, console: Console, options: ConsoleOptions
    ) -> RenderResult:
        """Yield the segments of all lines."""
        for line in self.lines:
            truncate(line, options.max_width)
            line.end = "\n"
            yield from line.render(console, "\n")


def fit(columns: Sequence[ScreenColumn], width: int) -> list[ScreenColumn]:
    """Drop columns until the rest fits, then distribute the spare width."""
    kept = list(columns)
    while _width(kept) > width and any(column.rank for column in kept):
        kept.remove(max(kept, key=lambda column: column.rank))
    spare, more = width - _width(kept), dict.fromkeys(kept, 0)
    while spare > 0 and (growing := [s for s in kept if more[s] < s.stretch]):
        for column in growing[:spare]:
            more[column] += 1
        spare -= min(spare, len(growing))
    return [
        replace(column, width=column.width + more[column], stretch=0) for column in kept
    ]


def _width(columns: Sequence[ScreenColumn]) -> int:
    return sum(column.width for column in columns) + GAP * (len(columns) - 1)


def header(columns: Sequence[ScreenColumn], marked: str = "") -> Text:
    """Build the line of titles; the sort column is marked."""
    return row(
        columns,
        {
            column.title: Text(column.title, "bold underline")
            if column.title == marked
            else Text(column.title, "dim")
            for column in columns
        },
    )


def row(columns: Sequence[ScreenColumn], cells: dict[str, Text]) -> Text:
    """Build a line of cells, aligned with the titles."""
    line = Text()
    for at, column in enumerate(columns):
        cell = cells.get(column.title) or Text()
        truncate(cell, column.width)
        space = " " * (column.width - cell.cell_len)
        line.append(" " * GAP if at else "")
        if column.is_right:
            line.append(space).append_text(cell)
        else:
            line.append_text(cell).append(space)
    return line


def truncate(line: Text, width: int) -> None:
    """Truncate a line that is too long, with an ellipsis."""
    # Measuring is slow; no character is wider than two cells.
    if len(line.plain) * 2 > width and line.cell_len > width:
        line.truncate(width, overflow="ellipsis")


def rule(title: Text, width: int, right: Text | None = None) -> Text:
    """Build the rule above a section, with its title in it."""
    line = Text.assemble(("── ", "bright_black"), title, " ")
    tail = (
        Text(" ").append_text(right).append(" ──", "bright_black") if right else Text()
    )
    dashes = width - line.cell_len - tail.cell_len
    if dashes < 0:
        return line
    return line.append("─" * dashes, "bright_black").append_text(tail)


def spread(left: Text, right: Text, width: int) -> Text:
    """Put two texts at the ends of a line; drop the right one if it does not fit."""
    space = width - left.cell_len - right.cell_len
    return left.append(" " * space).append_text(right) if space > 0 else left


def wrap(texts: Sequence[Text], width: int) -> list[Text]:
    """Arrange texts side by side in as many lines as needed, without truncating."""
    lines: list[Text] = []
    for text in texts:
        if lines and lines[-1].cell_len + GAP + text.cell_len <= width:
            lines[-1].append(" " * GAP).append_text(text)
        else:
            lines.append(text)
    return lines
