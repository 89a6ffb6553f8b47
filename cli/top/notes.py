"""Sentences on a screen: warnings, and events with their time."""

from __future__ import annotations

import textwrap
from typing import TYPE_CHECKING

from rich.text import Text

from cli.output.tables.styled import STYLES
from cli.output.tables.words import (
    moment,
)
from orchestrator.values.safe_text import printable

if TYPE_CHECKING:
    from collections.abc import Iterable

    from cli.output.tables.sheet import Cell
    from cli.top.board import Board
    from orchestrator.control.documents import EventRecord

_MARK = "! "


def note_line(note: Cell) -> Text:
    """Write a warning into one line."""
    return Text.assemble((_MARK, STYLES[note.look]), printable(note.text))


def note_lines(notes: list[Cell], width: int) -> list[Text]:
    """Write warnings into as many lines as they need."""
    return [
        line
        for note in notes
        for line in hanging(Text(_MARK, STYLES[note.look]), printable(note.text), width)
    ]


def hanging(start: Text, words: str, width: int) -> list[Text]:
    """Write words behind a start, in as many lines as they need."""
    indent = start.cell_len
    first, *more = textwrap.wrap(words, max(1, width - indent)) or [""]
    return [start.append(first, ""), *(Text(" " * indent + rest) for rest in more)]


def event_line(board: Board, event: EventRecord) -> Text:
    """Write an event into one line: when, who, what."""
    line = _moment(board, event)
    if event["domain"]:
        line.append(f"{printable(event['domain'])}: ", "bold")
    return line.append(printable(event["text"]))


def event_lines(board: Board, events: Iterable[EventRecord], width: int) -> list[Text]:
    """Write events into as many lines as they need, without saying whose they are."""
    return [
        line
        for event in events
        for line in hanging(_moment(board, event), printable(event["text"]), width)
    ]


def _moment(board: Board, event: EventRecord) -> Text:
    when = moment(event["time"], board.now.tzinfo, "%H:%M:%S")
    return Text.assemble((f"{when}  ", "dim"))
