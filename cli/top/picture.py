"""One picture of everything: (view, board, size) -> lines; pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from rich.text import Text

from cli.output.lines import rule, spread
from cli.output.tables.status import cpu_summary
from cli.output.tables.words import (
    duration,
    is_simulated,
    moment,
    plural,
)
from cli.top.board import Board, listed, warnings
from cli.top.cpu_map import cpu_map, legend
from cli.top.domain_list import domain_list, list_title
from cli.top.domain_page import domain_page
from cli.top.notes import event_line, note_line
from cli.top.pages import help_page, warnings_page
from cli.top.view import Drawn, Page, Sort, View
from orchestrator.values.safe_text import printable

if TYPE_CHECKING:
    from cli.output.tables.sheet import Cell

_MARGIN = 1
_FRAME_ROWS = 3
"""Two of the header, one of the footer."""
_AIRY_ROWS = 30
"""From here on there is room for empty lines."""
_LEAST_LIST_ROWS = 4
_MOST_NOTES = 4
_MOST_EVENTS = 8


@dataclass(frozen=True, slots=True)
class Picture:
    """Lines for a screen, and what the next key needs to know of them."""

    lines: list[Text]
    drawn: Drawn


@dataclass(frozen=True, slots=True, kw_only=True)
class _Rows:
    """How many rows each part of the overview gets, titles aside."""

    cpus: int
    domains: int
    notes: int


def picture(board: Board, view: View, width: int, height: int) -> Picture:
    """Draw what the view shows, exactly as high as the screen."""
    inner, room = width - 2 * _MARGIN, height - _FRAME_ROWS
    if view.page is Page.OVERVIEW:
        body, limit = _overview(board, view, inner, room), 0
    else:
        whole = _page(board, view, inner)
        limit = max(0, len(whole) - room)
        first = min(view.scroll, limit)
        body = whole[first : first + room]
    body = body[: max(0, room)]
    body += [Text()] * (room - len(body))
    lines = [*_header(board, view, inner), *body, _footer(board, view, limit)]
    uuids = tuple(domain["uuid"] for domain in listed(board, view))
    indented = [Text(" " * _MARGIN).append_text(line) for line in lines]
    return Picture(indented[:height], Drawn(listed=uuids, scroll_limit=limit))


def _page(board: Board, view: View, width: int) -> list[Text]:
    match view.page:
        case Page.DOMAIN:
            return domain_page(board, view.cursor, width)
        case Page.WARNINGS:
            return warnings_page(board, width)
        case _:
            return help_page(width)


def _header(board: Board, view: View, width: int) -> list[Text]:
    daemon, libvirt = board.status["daemon"], board.status["libvirt"]
    # What matters most stands first: a narrow screen cuts the rest.
    left = Text.assemble(("vmpower top", "bold"))
    if is_simulated(board.status["cpus"]):
        left.append("  simulated CPUs", "yellow")
    left.append(f"  {daemon['mode']}", "yellow" if daemon["mode"] == "observe" else "")
    left.append(f"  {printable(board.host)}")
    right = Text.assemble((" PAUSED " if view.is_paused else "", "reverse"))
    right.append(f"  up {duration(daemon['uptime_s'])}", "dim")
    right.append(f"  {board.now:%H:%M:%S}")
    if board.gone is not None:
        words = f" the daemon does not answer, trying again: {board.gone} "
        return [spread(left, right, width), Text(words, "bold white on red")]
    if libvirt["connected"]:
        below = Text.assemble("libvirt connected  ", (printable(libvirt["uri"]), "dim"))
    else:
        why = printable(libvirt["reason"] or "unknown reason")
        below = Text(f"libvirt not connected: {why}", "red")
        if libvirt["stale_since"]:
            since = moment(libvirt["stale_since"], board.now.tzinfo, "%H:%M:%S")
            below.append(f"; domains as known since {since}")
    counts = Text(f"CPUs: {cpu_summary(board.status['cpus'])}", "dim")
    return [spread(left, right, width), spread(below, counts, width)]


def _overview(board: Board, view: View, width: int, room: int) -> list[Text]:
    notes = warnings(board)
    is_airy = room + _FRAME_ROWS >= _AIRY_ROWS
    gap = [Text()] if is_airy else []
    rows = _share_out(board, view, len(notes), room)
    cpus = board.status["cpus"]
    title = rule(Text("CPUs by clock group", "bold"), width, legend(cpus))
    chart = cpu_map(board, view, width, rows.cpus)
    lines = [*gap, title, *chart, *gap, rule(list_title(board, view), width)]
    # Rows that the map did not need belong to the domains, then to the events.
    table = domain_list(board, view, width, rows.domains + rows.cpus - len(chart))
    lines += table
    if rows.notes:
        lines += [*gap, rule(Text("Warnings", "bold"), width)]
        lines += _some_notes(notes, rows.notes)
    left = room - len(lines) - len(gap) - 1
    if left > 0 and board.events:
        lines += [*gap, rule(Text("Events", "bold"), width)]
        latest = board.events[: -left - 1 : -1]
        lines += [event_line(board, event) for event in latest]
    return lines


def _share_out(board: Board, view: View, notes: int, room: int) -> _Rows:
    """Divide the rows of the overview."""
    is_airy = room + _FRAME_ROWS >= _AIRY_ROWS
    gaps = 1 if is_airy else 0
    shown = min(notes, _MOST_NOTES if is_airy else 2)
    events = min(len(board.events), _MOST_EVENTS if is_airy else 3)
    room -= 2 + 2 * gaps + (shown + 1 + gaps if shown else 0)
    room -= events + 1 + gaps if events else 0
    # The map may have what the domains do not need, and half of it in any case.
    needed = max(_LEAST_LIST_ROWS, len(listed(board, view)) + 1)
    cpus = max(2, (room - 1) // 2, room - needed)
    return _Rows(cpus=cpus, domains=max(_LEAST_LIST_ROWS, room - cpus), notes=shown)


def _some_notes(notes: list[Cell], room: int) -> list[Text]:
    if len(notes) <= room:
        return [note_line(note) for note in notes]
    more = len(notes) - room + 1
    return [
        *(note_line(note) for note in notes[: room - 1]),
        Text.assemble(("! ", "yellow"), f"{more} more: press w"),
    ]


def _footer(board: Board, view: View, limit: int) -> Text:
    if view.is_typing:
        return Text.assemble(
            ("filter: ", "bold"),
            f"{printable(view.filter)}▏",
            ("  enter keeps it, escape drops it", "dim"),
        )
    keys = [("q", "quit"), ("?", "help")]
    keys.append(("p", "go on" if view.is_paused else "pause"))
    if view.page is Page.OVERVIEW:
        order = "name" if view.sort is Sort.NAME else view.sort.lower()
        keys += [("s", f"sort: {order}"), ("/", "filter"), ("↑↓⏎", "domain")]
    else:
        keys += [("↑↓", "scroll")] if limit else []
        keys += [("esc", "back")]
    found = len(warnings(board))
    keys.append(("w", plural(found, "warning") if found else "events"))
    line = Text()
    for key, meaning in keys:
        line.append(key, "bold cyan").append(f" {meaning}  ", "dim")
    return line
