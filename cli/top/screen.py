# SPDX-License-Identifier: Apache-2.0
"""Renders the dashboard: (snapshot, view, size) -> screen; pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from rich.text import Text

from cli.output.lines import rule, spread
from cli.output.tables.cells import (
    format_duration,
    format_time,
    is_simulated,
    plural,
)
from cli.output.tables.status import cpu_summary
from cli.top.charts import spark
from cli.top.cpu_map import cpu_map, legend
from cli.top.domain_list import domain_list, list_title
from cli.top.domain_page import domain_page
from cli.top.notes import event_line, note_line
from cli.top.pages import help_page, warnings_page
from cli.top.snapshot import Snapshot, listed_domains, warnings
from cli.top.view import Layout, Page, Sort, View
from orchestrator.values.quantities import format_watts
from orchestrator.values.safe_text import printable

if TYPE_CHECKING:
    from cli.output.tables.sheet import Cell

_MARGIN = 1
_FRAME_ROWS = 3
"""Two of the header, one of the footer."""
_SPACED_ROWS = 30
"""Screens of this height have empty lines between the sections."""
_SPARK_WIDTH = 10
_MIN_LIST_ROWS = 4
_MAX_NOTES = 4
_MAX_EVENTS = 8


@dataclass(frozen=True, slots=True)
class Screen:
    """The lines of a screen, and what the next key depends on."""

    lines: list[Text]
    layout: Layout


@dataclass(frozen=True, slots=True, kw_only=True)
class _Rows:
    """Rows of each part of the overview, without titles."""

    cpus: int
    domains: int
    notes: int


def render_screen(snapshot: Snapshot, view: View, width: int, height: int) -> Screen:
    """Render the view in exactly `height` lines."""
    inner, room = width - 2 * _MARGIN, height - _FRAME_ROWS
    if view.page is Page.OVERVIEW:
        body, limit = _overview(snapshot, view, inner, room), 0
    else:
        page = _page(snapshot, view, inner)
        limit = max(0, len(page) - room)
        first = min(view.scroll, limit)
        body = page[first : first + room]
    body = body[: max(0, room)]
    body += [Text()] * (room - len(body))
    lines = [*_header(snapshot, view, inner), *body, _footer(snapshot, view, limit)]
    uuids = tuple(domain["uuid"] for domain in listed_domains(snapshot, view))
    indented = [Text(" " * _MARGIN).append_text(line) for line in lines]
    return Screen(indented[:height], Layout(uuids=uuids, scroll_limit=limit))


def _page(snapshot: Snapshot, view: View, width: int) -> list[Text]:
    match view.page:
        case Page.DOMAIN:
            return domain_page(snapshot, view.cursor, width)
        case Page.WARNINGS:
            return warnings_page(snapshot, width)
        case _:
            return help_page(width)


def _header(snapshot: Snapshot, view: View, width: int) -> list[Text]:
    daemon = snapshot.status["daemon"]
    # The most important first: a narrow screen truncates the rest.
    left = Text.assemble(("vmpower top", "bold"))
    if is_simulated(snapshot.status["cpus"]):
        left.append("  simulated CPUs", "yellow")
    left.append(f"  {daemon['mode']}", "yellow" if daemon["mode"] == "observe" else "")
    left.append(f"  {printable(snapshot.host)}")
    right = Text.assemble((" PAUSED " if view.is_paused else "", "reverse"))
    right.append(f"  up {format_duration(daemon['uptime_s'])}", "dim")
    right.append(f"  {snapshot.now:%H:%M:%S}")
    if snapshot.unreachable is not None:
        text = f" vmpowerd does not respond, retrying: {snapshot.unreachable} "
        return [spread(left, right, width), Text(text, "bold white on red")]
    return [spread(left, right, width), _second_header_line(snapshot, width)]


def _second_header_line(snapshot: Snapshot, width: int) -> Text:
    """Show libvirt, energy and CPUs; the URI gives way to the energy."""
    libvirt = _libvirt(snapshot)
    uri = Text("  ").append(printable(snapshot.status["libvirt"]["uri"]), "dim")
    if not snapshot.status["libvirt"]["connected"]:
        uri = Text()
    counts = Text(f"CPUs: {cpu_summary(snapshot.status['cpus'])}", "dim")
    with_energy = Text.assemble(_energy(snapshot), counts)
    for left in (libvirt + uri, libvirt):
        if left.cell_len + with_energy.cell_len < width:
            return spread(left, with_energy, width)
    return spread(libvirt + uri, counts, width)


def _libvirt(snapshot: Snapshot) -> Text:
    libvirt = snapshot.status["libvirt"]
    if libvirt["connected"]:
        return Text("libvirt connected")
    why = printable(libvirt["reason"] or "unknown reason")
    text = Text(f"libvirt not connected: {why}", "red")
    if libvirt["stale_since"]:
        since = format_time(libvirt["stale_since"], snapshot.now.tzinfo, "%H:%M:%S")
        text.append(f"; domains as of {since}")
    return text


def _energy(snapshot: Snapshot) -> Text:
    """Show what the host draws and saves, and its power in the last seconds."""
    # Absent from the documents of a daemon that was not restarted after an upgrade.
    host = snapshot.status.get("energy")
    if host is None:
        return Text()
    values = host["measured_history_watts"][-_SPARK_WIDTH:]
    text = Text(f"{format_watts(host['measured_watts'])}")
    if host["modelled"]:
        text.append(" modelled", "yellow")
    text.append(", saving ", "dim").append(format_watts(host["saved_watts"]), "green")
    limits = (min(values, default=0.0), max(values, default=1.0))
    text.append(" ").append_text(spark(values, _SPARK_WIDTH, limits))
    return text.append("  ")


def _overview(snapshot: Snapshot, view: View, width: int, room: int) -> list[Text]:
    notes = warnings(snapshot)
    is_spaced = room + _FRAME_ROWS >= _SPACED_ROWS
    gap = [Text()] if is_spaced else []
    rows = _divide_rows(snapshot, view, len(notes), room)
    cpus = snapshot.status["cpus"]
    title = rule(Text("CPUs by clock group", "bold"), width, legend(cpus))
    chart = cpu_map(snapshot, view, width, rows.cpus)
    lines = [*gap, title, *chart, *gap, rule(list_title(snapshot, view), width)]
    # Rows that the map does not need go to the domains, then to the events.
    table = domain_list(snapshot, view, width, rows.domains + rows.cpus - len(chart))
    lines += table
    if rows.notes:
        lines += [*gap, rule(Text("Warnings", "bold"), width)]
        lines += _first_notes(notes, rows.notes)
    left = room - len(lines) - len(gap) - 1
    if left > 0 and snapshot.events:
        lines += [*gap, rule(Text("Events", "bold"), width)]
        latest = snapshot.events[: -left - 1 : -1]
        lines += [event_line(snapshot, event) for event in latest]
    return lines


def _divide_rows(snapshot: Snapshot, view: View, notes: int, room: int) -> _Rows:
    """Divide the rows of the overview."""
    is_spaced = room + _FRAME_ROWS >= _SPACED_ROWS
    gaps = 1 if is_spaced else 0
    shown = min(notes, _MAX_NOTES if is_spaced else 2)
    events = min(len(snapshot.events), _MAX_EVENTS if is_spaced else 3)
    room -= 2 + 2 * gaps + (shown + 1 + gaps if shown else 0)
    room -= events + 1 + gaps if events else 0
    # The map gets what the domains do not need, but at least half of the rows.
    needed = max(_MIN_LIST_ROWS, len(listed_domains(snapshot, view)) + 1)
    cpus = max(2, (room - 1) // 2, room - needed)
    return _Rows(cpus=cpus, domains=max(_MIN_LIST_ROWS, room - cpus), notes=shown)


def _first_notes(notes: list[Cell], room: int) -> list[Text]:
    if len(notes) <= room:
        return [note_line(note) for note in notes]
    more = len(notes) - room + 1
    return [
        *(note_line(note) for note in notes[: room - 1]),
        Text.assemble(("! ", "yellow"), f"{more} more: press w"),
    ]


def _footer(snapshot: Snapshot, view: View, limit: int) -> Text:
    if view.is_typing:
        return Text.assemble(
            ("filter: ", "bold"),
            f"{printable(view.filter)}▏",
            ("  Enter: keep, Esc: clear", "dim"),
        )
    keys = [("q", "quit"), ("?", "help")]
    keys.append(("p", "resume" if view.is_paused else "pause"))
    if view.page is Page.OVERVIEW:
        order = "name" if view.sort is Sort.NAME else view.sort.lower()
        keys += [("s", f"sort: {order}"), ("/", "filter"), ("↑↓⏎", "domain")]
    else:
        keys += [("↑↓", "scroll")] if limit else []
        keys += [("esc", "back")]
    found = len(warnings(snapshot))
    keys.append(("w", plural(found, "warning") if found else "events"))
    line = Text()
    for key, meaning in keys:
        line.append(key, "bold cyan").append(f" {meaning}  ", "dim")
    return line
