# SPDX-License-Identifier: Apache-2.0
"""One domain: settings, vCPUs, channels, refusals, policies, warnings, events."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.text import Text

from cli.output.lines import ScreenColumn, fit, header, row, rule, wrap
from cli.output.tables.cells import step_name
from cli.output.tables.channels import (
    count_refused,
    generation_cell,
    kind_cell,
    state_cell,
)
from cli.output.tables.domains import own_cpus
from cli.output.tables.policies import policy_fields
from cli.output.tables.refusals import list_refusals
from cli.output.tables.rights import list_settings, source_cell
from cli.output.tables.run_state import is_active
from cli.output.tables.sheet import Cell, Style
from cli.output.tables.status import cpu_warnings, domain_warnings
from cli.output.tables.styled import RICH_STYLES
from cli.output.tables.vcpus import bounds, cpu_of, set_by
from cli.top.charts import frequency_range, heat, meter, share_of, spark
from cli.top.domain_list import count_text, rate_text
from cli.top.notes import event_lines, note_lines, wrap_after
from orchestrator.values.cpuset import format_cpulist
from orchestrator.values.refusal import Refusal
from orchestrator.values.safe_text import printable
from orchestrator.values.units import format_khz

if TYPE_CHECKING:
    from cli.top.snapshot import Snapshot
    from orchestrator.control.documents import Channel, Cpu, Domain, Rights, Vcpu

_HISTORY = "History"
_METER = ""
_REQUESTED = "Requested"
_BOUNDS = "Bounds"
_FULL_BOUNDS = len("1.20-3.00 GHz turbo")
_FULL_STEP = len("3.00 GHz turbo")
_VCPU_COLUMNS = (
    ScreenColumn(title="vCPU", width=4, is_right=True),
    ScreenColumn(title="CPUs", width=6, stretch=6),
    ScreenColumn(title=_METER, width=10, rank=6),
    ScreenColumn(title="Frequency", width=14, is_right=True),
    ScreenColumn(title=_HISTORY, width=10, rank=5, stretch=30),
    ScreenColumn(title=_REQUESTED, width=9, is_right=True, rank=2, stretch=5),
    ScreenColumn(title=_BOUNDS, width=13, is_right=True, rank=3, stretch=6),
    ScreenColumn(title="Set by", width=22, rank=4, stretch=8),
)
_CHANNEL_COLUMNS = (
    ScreenColumn(title="Channel", width=7, is_right=True),
    ScreenColumn(title="Kind", width=8, rank=3),
    ScreenColumn(title="State", width=10, rank=1),
    ScreenColumn(title="Generation", width=11, rank=2),
    ScreenColumn(title="Req/s", width=6, is_right=True),
    ScreenColumn(title="Requests", width=10, is_right=True, rank=5),
    ScreenColumn(title="Refused", width=7, is_right=True),
    ScreenColumn(title="Dropped", width=7, is_right=True, rank=7),
    ScreenColumn(title="Late", width=6, is_right=True, rank=4),
    ScreenColumn(title="Errors", width=6, is_right=True, rank=6),
    ScreenColumn(title="Unread", width=6, is_right=True, rank=8),
    ScreenColumn(title="Socket", width=24, rank=9, stretch=60),
)
_POLICY_COLUMNS = (
    ScreenColumn(title="Source", width=16, stretch=12),
    ScreenColumn(title="Policy", width=16, stretch=60),
    ScreenColumn(title="vCPUs", width=5, rank=2, stretch=8),
    ScreenColumn(title="Wants", width=10, rank=1, stretch=30),
)


def domain_page(snapshot: Snapshot, uuid: str | None, width: int) -> list[Text]:
    """Show everything known about one domain."""
    domain = next((d for d in snapshot.status["domains"] if d["uuid"] == uuid), None)
    if domain is None:
        return [Text("this domain no longer exists; Esc goes back", "yellow")]
    cpus = own_cpus(domain, snapshot.status["cpus"])
    warnings = [*domain_warnings(domain), *cpu_warnings(cpus)]
    notes = note_lines([Cell(text, Style.NOTABLE) for text in warnings], width)
    events = [e for e in reversed(snapshot.events) if e["domain"] == domain["name"]]
    sections = {
        "Channels": _channels(snapshot, domain, width),
        "Refused requests": _refusals(domain, width),
        "Policies": _policies(domain, width),
        "Warnings": notes,
        "Events": event_lines(snapshot, events, width),
    }
    lines = [*_facts(domain, width), Text(), *_vcpus(snapshot, domain, width)]
    for title, own in sections.items():
        lines += [Text(), rule(Text(title, "bold"), width), *own] if own else []
    return lines


def _facts(domain: Domain, width: int) -> list[Text]:
    title = Text.assemble((printable(domain["name"]), "bold"), f"  {domain['state']}")
    facts = [title]
    facts += [Text(f"id {domain['id']}", "dim")] if is_active(domain) else []
    facts.append(Text(domain["uuid"], "dim"))
    lines = wrap(facts, width)
    if not domain["rights"]:
        return lines
    return lines + _settings(domain["rights"], domain["vcpus"], width)


def _settings(rights: Rights, vcpus: list[Vcpu], width: int) -> list[Text]:
    """Show the effective settings and their sources."""
    facts = [
        Text.assemble(
            (f"{label} ", "dim"),
            value,
            (f" ({source})", RICH_STYLES[source_cell(source).style]),
        )
        for label, value, source in list_settings(rights, vcpus)
    ]
    return wrap(facts, width)


def _vcpus(snapshot: Snapshot, domain: Domain, width: int) -> list[Text]:
    if not domain["vcpus"]:
        return [Text("no vCPUs: the domain is not running", "dim")]
    columns = fit(_VCPU_COLUMNS, width)
    widths = {column.title: column.width for column in columns}
    cpu_by_number = {cpu["pcpu"]: cpu for cpu in snapshot.status["cpus"]}
    lines = [header(columns)]
    for vcpu in domain["vcpus"]:
        cpu = cpu_of(vcpu, cpu_by_number) if is_active(domain) else None
        cells = {
            "vCPU": Text(str(vcpu["vcpu"]), "bold"),
            "CPUs": Text(format_cpulist(vcpu["pcpus"])),
            "Set by": _text(set_by(domain, vcpu, cpu)),
        }
        if is_active(domain):
            cells |= _frequency_cells(snapshot, vcpu, cpu, widths)
        lines.append(row(columns, cells))
    return lines


def _frequency_cells(
    snapshot: Snapshot, vcpu: Vcpu, cpu: Cpu | None, widths: dict[str, int]
) -> dict[str, Text]:
    if cpu is None:
        is_floating = vcpu["refusal"] == Refusal.FLOATING.word
        return {"Frequency": Text("floats" if is_floating else "not managed", "yellow")}
    room = widths.get(_HISTORY, 0)
    has_room = widths.get(_BOUNDS, 0) >= _FULL_BOUNDS
    has_name_room = widths.get(_REQUESTED, 0) >= _FULL_STEP
    khz, steps, requested = cpu["current_khz"], cpu["steps_khz"], vcpu["requested_khz"]
    share = None if khz is None else share_of(khz, steps[-1], steps[0])
    recent = snapshot.history.group_khz.last(cpu["clock_group"], room)
    return {
        _METER: meter(share, 10, heat(share or 0.0)),
        "Frequency": Text("-" if khz is None else step_name(khz, cpu)),
        _HISTORY: spark(recent, room, frequency_range(snapshot.status["cpus"])),
        _REQUESTED: _requested(requested, cpu if has_name_room else None),
        _BOUNDS: _text(bounds(vcpu, cpu if has_room else None)),
    }


def _requested(khz: int | None, cpu: Cpu | None) -> Text:
    """Show a requested frequency; None: without the mark of turbo."""
    if khz is None:
        return Text("-", "dim")
    return Text(format_khz(khz) if cpu is None else step_name(khz, cpu))


def _channels(snapshot: Snapshot, domain: Domain, width: int) -> list[Text]:
    if not domain["channels"]:
        return []
    columns = fit(_CHANNEL_COLUMNS, width)
    rows = (
        row(columns, _channel_cells(snapshot, domain, channel))
        for channel in domain["channels"]
    )
    return [header(columns), *rows]


def _channel_cells(
    snapshot: Snapshot, domain: Domain, channel: Channel
) -> dict[str, Text]:
    number, path = channel["number"], channel["path"]
    return {
        "Channel": Text(str(number), "bold"),
        "Kind": _text(kind_cell(channel)),
        "State": _text(state_cell(channel)),
        "Generation": _text(generation_cell(channel)),
        "Req/s": rate_text(snapshot.history.rate(domain["uuid"], number)),
        "Requests": count_text(channel["requests_total"]),
        "Refused": count_text(count_refused(channel), "red"),
        "Dropped": count_text(channel["dropped_total"], "red"),
        "Late": count_text(channel["late_total"], "red"),
        "Errors": count_text(channel["errors_total"], "red"),
        "Unread": count_text(channel["unanswered_total"]),
        "Socket": Text(printable(path or "-"), "dim"),
    }


def _refusals(domain: Domain, width: int) -> list[Text]:
    """Count the refused requests by reason, the most frequent first."""
    return [
        line
        for count, text in list_refusals(domain["channels"])
        for line in wrap_after(Text(f"{count:>9,}  ", "red"), text, width)
    ]


def _policies(domain: Domain, width: int) -> list[Text]:
    columns = fit(_POLICY_COLUMNS, width)
    titles = [column.title for column in _POLICY_COLUMNS]
    rows = [
        row(columns, dict(zip(titles, map(_text, policy_fields(policy)), strict=True)))
        for policy in domain["policies"]
    ]
    return [header(columns), *rows] if rows else []


def _text(cell: Cell) -> Text:
    return Text(cell.text, RICH_STYLES[cell.style])
