"""The pages beside the overview: one domain, all warnings and events, the keys."""

from __future__ import annotations

import textwrap
from typing import TYPE_CHECKING

from rich.text import Text

from cli.tables.channels import channel_state
from cli.tables.rights import list_rights, source_cell
from cli.tables.sheet import Cell, Look
from cli.tables.status import domain_words
from cli.tables.styled import STYLES
from cli.tables.words import moment, printable, step_name
from cli.top.board import Board, warnings
from cli.top.charts import clock_ends, heat, meter, share_of, spark
from cli.top.domain_list import count_text, rate_text
from cli.top.lines import Slot, fit, head, row, rule, wrapped
from cli.top.view import KEYS
from orchestrator.cpuset import format_cpulist
from orchestrator.units import format_khz

if TYPE_CHECKING:
    from orchestrator.control.documents import (
        Channel,
        Cpu,
        Domain,
        EventRecord,
        Rights,
        Vcpu,
    )

_CLOCKS = "Clock lately"
_METER = "Now"
_VCPU_SLOTS = (
    Slot(title="vCPU", width=4, is_right=True),
    Slot(title="CPUs", width=6, stretch=6),
    Slot(title=_METER, width=10, rank=6),
    Slot(title="Clock", width=14, is_right=True),
    Slot(title=_CLOCKS, width=10, rank=4, stretch=30),
    Slot(title="Wish", width=8, is_right=True, rank=3),
    Slot(title="Req/s", width=6, is_right=True),
    Slot(title="Requests", width=10, is_right=True, rank=5),
    Slot(title="Refused", width=7, is_right=True, rank=2),
    Slot(title="Channel", width=9, rank=1),
)
_KEY_CELLS = 20
_SIGNS = (
    ("2-3", "CPUs that share one clock stand together"),
    ("╭ ╰", "SMT siblings: two clocks, and one core that follows the faster"),
    ("colour, height", "the clock, between the slowest and the fastest step"),
    ("grey", "a clock that the daemon leaves alone"),
    ("!", "the operator's override: 'vmpower cpu release' ends it"),
    ("a b c", "the domain on a CPU; *: more than one, +: no letter left"),
)
_NOTE_MARK = "! "


def domain_page(board: Board, uuid: str | None, width: int) -> list[Text]:
    """Show one domain with all of its vCPUs, what is wrong, and its events."""
    domain = next((d for d in board.status["domains"] if d["uuid"] == uuid), None)
    if domain is None:
        return [Text("this domain is gone; escape leads back", "yellow")]
    notes = _note_lines([Cell(w, Look.NOTABLE) for w in domain_words(domain)], width)
    events = [e for e in board.events if e["domain"] == domain["name"]]
    lines = [*_facts(domain, width), Text(), *_vcpus(board, domain, width)]
    if notes:
        lines += [Text(), rule(Text("Warnings", "bold"), width), *notes]
    if events:
        lines += [Text(), rule(Text("Events", "bold"), width)]
        lines += [event_line(board, event) for event in reversed(events)]
    return lines


def warnings_page(board: Board, width: int) -> list[Text]:
    """Show all warnings, then all events, the newest first."""
    notes = _note_lines(warnings(board), width) or [Text("none", "dim")]
    return [
        rule(Text("Warnings", "bold"), width),
        *notes,
        Text(),
        rule(Text("Events", "bold"), width),
        *(event_line(board, event) for event in reversed(board.events)),
    ]


def help_page(width: int) -> list[Text]:
    """Show the keys and the signs."""
    keys = [
        line for key, meaning in KEYS for line in _entry(key, "bold", meaning, width)
    ]
    signs = [
        line
        for sign, meaning in _SIGNS
        for line in _entry(sign, "cyan", meaning, width)
    ]
    return [*keys, Text(), *signs]


def _entry(word: str, style: str, meaning: str, width: int) -> list[Text]:
    """Explain a word in as many lines as that needs."""
    room = max(1, width - _KEY_CELLS)
    first, *more = textwrap.wrap(meaning, room)
    lines = [Text.assemble((f"{word:<{_KEY_CELLS}}", style), first)]
    return lines + [Text(" " * _KEY_CELLS + words) for words in more]


def note_line(note: Cell) -> Text:
    """Write a warning into one line."""
    return Text.assemble((_NOTE_MARK, STYLES[note.look]), printable(note.text))


def _note_lines(notes: list[Cell], width: int) -> list[Text]:
    """Write warnings into as many lines as they need."""
    lines = []
    room, indent = max(1, width - len(_NOTE_MARK)), " " * len(_NOTE_MARK)
    for note in notes:
        first, *more = textwrap.wrap(printable(note.text), room) or [""]
        lines.append(Text.assemble((_NOTE_MARK, STYLES[note.look]), first))
        lines += [Text(indent + words) for words in more]
    return lines


def event_line(board: Board, event: EventRecord) -> Text:
    """Write an event: when, who, what."""
    when = moment(event["time"], board.now.tzinfo, "%H:%M:%S")
    line = Text.assemble((f"{when}  ", "dim"))
    if event["domain"]:
        line.append(f"{printable(event['domain'])}: ", "bold")
    return line.append(printable(event["text"]))


def _facts(domain: Domain, width: int) -> list[Text]:
    number = "off" if domain["id"] is None else f"id {domain['id']}"
    who = Text.assemble((printable(domain["name"]), "bold"), f"  {domain['state']}")
    facts = [who, Text(number, "dim"), Text(domain["uuid"], "dim")]
    lines = wrapped(facts, width)
    return lines + (_rights(domain["rights"], width) if domain["rights"] else [])


def _rights(rights: Rights, width: int) -> list[Text]:
    """Say what holds for the domain, and who said so."""
    facts = [
        Text.assemble(
            (f"{label} ", "dim"),
            value,
            (f" ({source})", STYLES[source_cell(source).look]),
        )
        for label, value, source in list_rights(rights)
    ]
    return wrapped(facts, width)


def _vcpus(board: Board, domain: Domain, width: int) -> list[Text]:
    slots = fit(_VCPU_SLOTS, width)
    widths = {slot.title: slot.width for slot in slots}
    clocks = {cpu["clock_group"]: cpu for cpu in board.status["cpus"]}
    channels = {channel["number"]: channel for channel in domain["channels"]}
    lines = [head(slots)]
    for vcpu in domain["vcpus"]:
        cells = {"vCPU": Text(str(vcpu["vcpu"]), "bold")}
        cells |= _clock_cells(board, vcpu, clocks, widths)
        cells |= _channel_cells(board, domain, channels.pop(vcpu["vcpu"], None))
        lines.append(row(slots, cells))
    for channel in channels.values():
        cells = _channel_cells(board, domain, channel)
        cells["CPUs"] = Text(f"ch. {channel['number']}", "dim")
        lines.append(row(slots, cells))
    return lines


def _clock_cells(
    board: Board, vcpu: Vcpu, clocks: dict[int, Cpu], widths: dict[str, int]
) -> dict[str, Text]:
    cells = {"CPUs": Text(format_cpulist(vcpu["pcpus"]))}
    group = vcpu["clock_group"]
    cpu = None if group is None else clocks.get(group)
    if group is None or cpu is None:
        return cells | {"Clock": Text("floats", "yellow")}
    khz, steps = cpu["current_khz"], cpu["steps_khz"]
    wish, room = vcpu["wish_khz"], widths.get(_CLOCKS, 0)
    share = None if khz is None else share_of(khz, steps[-1], steps[0])
    ends = clock_ends(board.status["cpus"])
    return cells | {
        _METER: meter(share, 10, heat(share or 0.0)),
        "Clock": Text("-" if khz is None else step_name(khz, cpu)),
        _CLOCKS: spark(board.history.clocks.last(group, room), room, ends),
        "Wish": Text(format_khz(wish), "" if wish else "dim"),
    }


def _channel_cells(
    board: Board, domain: Domain, channel: Channel | None
) -> dict[str, Text]:
    if channel is None:
        return {"Channel": Text("none", "dim")}
    state = channel_state(channel)
    return {
        "Req/s": rate_text(board.history.rate(domain["uuid"], channel["number"])),
        "Requests": count_text(channel["requests_total"]),
        "Refused": count_text(channel["nacks_total"], "red"),
        "Channel": Text(state.text, STYLES[state.look]),
    }
