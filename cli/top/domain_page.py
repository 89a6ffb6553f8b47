"""One domain: its vCPUs, its channels, what was refused, policies, warnings, events."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.text import Text

from cli.output.lines import Slot, fit, head, row, rule, wrapped
from cli.output.tables.channels import channel_state, generation
from cli.output.tables.domains import own_cpus
from cli.output.tables.policies import policy_fields
from cli.output.tables.refusals import list_refusals
from cli.output.tables.rights import list_rights, source_cell
from cli.output.tables.sheet import Cell, Look
from cli.output.tables.status import cpu_words, domain_words
from cli.output.tables.styled import STYLES
from cli.output.tables.vcpus import bounds, cpu_of, set_by
from cli.output.tables.words import (
    step_name,
)
from cli.top.charts import clock_ends, heat, meter, share_of, spark
from cli.top.domain_list import count_text, rate_text
from cli.top.notes import event_lines, hanging, note_lines
from orchestrator.values.cpuset import format_cpulist
from orchestrator.values.safe_text import printable
from orchestrator.values.units import format_khz

if TYPE_CHECKING:
    from cli.top.board import Board
    from orchestrator.control.documents import Channel, Cpu, Domain, Rights, Vcpu

_CLOCKS = "Clock lately"
_METER = "Now"
_BOUNDS = "Bounds"
_WHOLE_BOUNDS = len("1.20-3.00 GHz turbo")
_VCPU_SLOTS = (
    Slot(title="vCPU", width=4, is_right=True),
    Slot(title="CPUs", width=6, stretch=6),
    Slot(title=_METER, width=10, rank=6),
    Slot(title="Clock", width=14, is_right=True),
    Slot(title=_CLOCKS, width=10, rank=5, stretch=30),
    Slot(title="Wish", width=8, is_right=True, rank=2),
    Slot(title=_BOUNDS, width=13, is_right=True, rank=3, stretch=6),
    Slot(title="Set by", width=22, rank=4, stretch=8),
)
_CHANNEL_SLOTS = (
    Slot(title="Channel", width=7, is_right=True),
    Slot(title="State", width=10, rank=1),
    Slot(title="Generation", width=11, rank=2),
    Slot(title="Req/s", width=6, is_right=True),
    Slot(title="Requests", width=10, is_right=True, rank=4),
    Slot(title="Refused", width=7, is_right=True),
    Slot(title="Dropped", width=7, is_right=True, rank=6),
    Slot(title="Late", width=6, is_right=True, rank=3),
    Slot(title="Errors", width=6, is_right=True, rank=5),
    Slot(title="Unread", width=6, is_right=True, rank=7),
    Slot(title="Socket", width=24, rank=8, stretch=60),
)
_POLICY_SLOTS = (
    Slot(title="By", width=16, stretch=12),
    Slot(title="Policy", width=16, stretch=60),
    Slot(title="vCPUs", width=5, rank=2, stretch=8),
    Slot(title="Wants", width=10, rank=1, stretch=30),
)


def domain_page(board: Board, uuid: str | None, width: int) -> list[Text]:
    """Show one domain with all that is known of it."""
    domain = next((d for d in board.status["domains"] if d["uuid"] == uuid), None)
    if domain is None:
        return [Text("this domain is gone; escape leads back", "yellow")]
    cpus = own_cpus(domain, board.status["cpus"])
    words = [*domain_words(domain), *cpu_words(cpus)]
    notes = note_lines([Cell(each, Look.NOTABLE) for each in words], width)
    events = [e for e in reversed(board.events) if e["domain"] == domain["name"]]
    sections = {
        "Channels": _channels(board, domain, width),
        "Refused requests": _refusals(domain, width),
        "Policies": _policies(domain, width),
        "Warnings": notes,
        "Events": event_lines(board, events, width),
    }
    lines = [*_facts(domain, width), Text(), *_vcpus(board, domain, width)]
    for title, own in sections.items():
        lines += [Text(), rule(Text(title, "bold"), width), *own] if own else []
    return lines


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
    if not domain["vcpus"]:
        return [Text("no vCPU while it is off", "dim")]
    slots = fit(_VCPU_SLOTS, width)
    widths = {slot.title: slot.width for slot in slots}
    clocks = {cpu["pcpu"]: cpu for cpu in board.status["cpus"]}
    lines = [head(slots)]
    for vcpu in domain["vcpus"]:
        cpu = cpu_of(vcpu, clocks)
        cells = {
            "vCPU": Text(str(vcpu["vcpu"]), "bold"),
            "CPUs": Text(format_cpulist(vcpu["pcpus"])),
            "Set by": _text(set_by(domain, vcpu, cpu)),
        }
        lines.append(row(slots, cells | _clock_cells(board, vcpu, cpu, widths)))
    return lines


def _clock_cells(
    board: Board, vcpu: Vcpu, cpu: Cpu | None, widths: dict[str, int]
) -> dict[str, Text]:
    if cpu is None:
        return {"Clock": Text("floats", "yellow")}
    room = widths.get(_CLOCKS, 0)
    has_room = widths.get(_BOUNDS, 0) >= _WHOLE_BOUNDS
    khz, steps, wish = cpu["current_khz"], cpu["steps_khz"], vcpu["wish_khz"]
    share = None if khz is None else share_of(khz, steps[-1], steps[0])
    lately = board.history.clocks.last(cpu["clock_group"], room)
    return {
        _METER: meter(share, 10, heat(share or 0.0)),
        "Clock": Text("-" if khz is None else step_name(khz, cpu)),
        _CLOCKS: spark(lately, room, clock_ends(board.status["cpus"])),
        "Wish": Text(format_khz(wish), "" if wish else "dim"),
        _BOUNDS: _text(bounds(vcpu, cpu if has_room else None)),
    }


def _channels(board: Board, domain: Domain, width: int) -> list[Text]:
    if not domain["channels"]:
        return []
    slots = fit(_CHANNEL_SLOTS, width)
    rows = (
        row(slots, _channel_cells(board, domain, channel))
        for channel in domain["channels"]
    )
    return [head(slots), *rows]


def _channel_cells(board: Board, domain: Domain, channel: Channel) -> dict[str, Text]:
    number, path = channel["number"], channel["path"]
    return {
        "Channel": Text(str(number), "bold"),
        "State": _text(channel_state(channel)),
        "Generation": _text(generation(channel)),
        "Req/s": rate_text(board.history.rate(domain["uuid"], number)),
        "Requests": count_text(channel["requests_total"]),
        "Refused": count_text(channel["nacks_total"], "red"),
        "Dropped": count_text(channel["dropped_total"], "red"),
        "Late": count_text(channel["late_total"], "red"),
        "Errors": count_text(channel["errors_total"], "red"),
        "Unread": count_text(channel["unanswered_total"]),
        "Socket": Text(printable(path or "-"), "dim"),
    }


def _refusals(domain: Domain, width: int) -> list[Text]:
    """Say how many requests were refused for which reason, most first."""
    return [
        line
        for count, words in list_refusals(domain["channels"])
        for line in hanging(Text(f"{count:>9,}  ", "red"), words, width)
    ]


def _policies(domain: Domain, width: int) -> list[Text]:
    slots = fit(_POLICY_SLOTS, width)
    titles = [slot.title for slot in _POLICY_SLOTS]
    rows = [
        row(slots, dict(zip(titles, map(_text, policy_fields(policy)), strict=True)))
        for policy in domain["policies"]
    ]
    return [head(slots), *rows] if rows else []


def _text(cell: Cell) -> Text:
    return Text(cell.text, STYLES[cell.look])
