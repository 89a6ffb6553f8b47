# SPDX-License-Identifier: Apache-2.0
"""Formats warnings and events as lines of a screen."""

from __future__ import annotations

import textwrap
from typing import TYPE_CHECKING

from rich.text import Text

from cli.output.tables.cells import format_time
from cli.output.tables.styled import RICH_STYLES
from orchestrator.values.safe_text import printable

if TYPE_CHECKING:
    from collections.abc import Iterable

    from cli.output.tables.sheet import Cell
    from cli.top.snapshot import Snapshot
    from orchestrator.control.documents import EventRecord

_MARK = "! "


def note_line(note: Cell) -> Text:
    """Format a warning as one line."""
    return Text.assemble((_MARK, RICH_STYLES[note.style]), printable(note.text))


def note_lines(notes: list[Cell], width: int) -> list[Text]:
    """Format warnings as wrapped lines."""
    return [
        line
        for note in notes
        for line in wrap_after(
            Text(_MARK, RICH_STYLES[note.style]), printable(note.text), width
        )
    ]


def wrap_after(prefix: Text, text: str, width: int) -> list[Text]:
    """Format text after a prefix, wrapped and indented."""
    indent = prefix.cell_len
    first, *more = textwrap.wrap(text, max(1, width - indent)) or [""]
    return [prefix.append(first, ""), *(Text(" " * indent + rest) for rest in more)]


def event_line(snapshot: Snapshot, event: EventRecord) -> Text:
    """Format an event as one line: time, domain, text."""
    line = _time(snapshot, event)
    if event["domain"]:
        line.append(f"{printable(event['domain'])}: ", "bold")
    return line.append(printable(event["text"]))


def event_lines(
    snapshot: Snapshot, events: Iterable[EventRecord], width: int
) -> list[Text]:
    """Format events of one domain as wrapped lines."""
    return [
        line
        for event in events
        for line in wrap_after(_time(snapshot, event), printable(event["text"]), width)
    ]


def _time(snapshot: Snapshot, event: EventRecord) -> Text:
    when = format_time(event["time"], snapshot.now.tzinfo, "%H:%M:%S")
    return Text.assemble((f"{when}  ", "dim"))
