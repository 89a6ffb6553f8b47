"""Lines of a screen: cut to its width, in columns, and never wrapped."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from rich.text import Text

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.console import Console, ConsoleOptions, RenderResult

GAP = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Slot:
    """One column."""

    title: str
    width: int
    is_right: bool = False
    rank: int = 0
    """The highest is left out first where there is no room; 0 always stays."""
    stretch: int = 0
    """How many cells it may grow where there is room to spare."""


class Lines:
    """Renders lines as they are; what is too long is cut."""

    def __init__(self, lines: Sequence[Text]) -> None:
        self.lines = lines

    def __rich_console__(
        self, console: Console, options: ConsoleOptions
    ) -> RenderResult:
        """Give the segments of every line."""
        for line in self.lines:
            cut(line, options.max_width)
            line.end = "\n"
            yield from line.render(console, "\n")


def fit(slots: Sequence[Slot], width: int) -> list[Slot]:
    """Leave out columns until there is room, then share what is left over."""
    kept = list(slots)
    while _width(kept) > width and any(slot.rank for slot in kept):
        kept.remove(max(kept, key=lambda slot: slot.rank))
    spare, more = width - _width(kept), dict.fromkeys(kept, 0)
    while spare > 0 and (growing := [s for s in kept if more[s] < s.stretch]):
        for slot in growing[:spare]:
            more[slot] += 1
        spare -= min(spare, len(growing))
    return [replace(slot, width=slot.width + more[slot], stretch=0) for slot in kept]


def _width(slots: Sequence[Slot]) -> int:
    return sum(slot.width for slot in slots) + GAP * (len(slots) - 1)


def head(slots: Sequence[Slot], marked: str = "") -> Text:
    """Write the titles; the marked one is that of the order."""
    return row(
        slots,
        {
            slot.title: Text(slot.title, "bold underline")
            if slot.title == marked
            else Text(slot.title, "dim")
            for slot in slots
        },
    )


def row(slots: Sequence[Slot], cells: dict[str, Text]) -> Text:
    """Put cells under their titles."""
    line = Text()
    for at, slot in enumerate(slots):
        cell = cells.get(slot.title) or Text()
        cut(cell, slot.width)
        space = " " * (slot.width - cell.cell_len)
        line.append(" " * GAP if at else "")
        if slot.is_right:
            line.append(space).append_text(cell)
        else:
            line.append_text(cell).append(space)
    return line


def cut(line: Text, width: int) -> None:
    """Shorten a line that is too long, and say so by an ellipsis."""
    # A cell is at most as many columns as it has characters, but for wide letters.
    if len(line.plain) * 2 > width and line.cell_len > width:
        line.truncate(width, overflow="ellipsis")


def rule(title: Text, width: int, right: Text | None = None) -> Text:
    """Draw the line above a section, with its title in it."""
    line = Text.assemble(("── ", "bright_black"), title, " ")
    tail = (
        Text(" ").append_text(right).append(" ──", "bright_black") if right else Text()
    )
    dashes = width - line.cell_len - tail.cell_len
    if dashes < 0:
        return line
    return line.append("─" * dashes, "bright_black").append_text(tail)


def spread(left: Text, right: Text, width: int) -> Text:
    """Put two texts at the ends of a line; the right one goes if there is no room."""
    space = width - left.cell_len - right.cell_len
    return left.append(" " * space).append_text(right) if space > 0 else left


def wrapped(pieces: Sequence[Text], width: int) -> list[Text]:
    """Put pieces side by side into as many lines as they need, none of them cut."""
    lines: list[Text] = []
    for piece in pieces:
        if lines and lines[-1].cell_len + GAP + piece.cell_len <= width:
            lines[-1].append(" " * GAP).append_text(piece)
        else:
            lines.append(piece)
    return lines
