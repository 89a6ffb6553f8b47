# SPDX-License-Identifier: Apache-2.0
"""A report as tables, and as comma-separated values."""

from __future__ import annotations

import csv
import io
from datetime import datetime
from typing import TYPE_CHECKING

from cli.output.tables.cells import (
    NONE,
    count,
    format_duration,
    format_time,
    frequency,
    name,
)
from cli.output.tables.sheet import Cell, Column, Sheet, Style
from orchestrator.values.quantities import format_energy, format_share, format_worth
from orchestrator.values.safe_text import printable

if TYPE_CHECKING:
    from datetime import tzinfo

    from cli.output.report_documents import (
        Advice,
        AdviceList,
        Report,
        ReportHost,
        ReportRow,
    )

_GRAMS_PER_KG = 1_000
_LEAST_SHOWN_H = 0.05
"""With one digit, less is not seen."""
_HOUR, _DAY = "%Y-%m-%d %H:%M", "%Y-%m-%d"
_SOURCES = {
    "powercap": "measured (powercap)",
    "hwmon": "measured (hwmon)",
    "perf": "measured (perf)",
    "modelled": "modelled: this host has no meter",
}
_RAN = Column(title="Ran", is_right=True, rank=4)
"""Of one domain: the sum of several is longer than the time of a row."""
CSV_COLUMNS = (
    *("domain", "uuid", "since", "running_s", "mean_khz"),
    *("requests_total", "refused_total", "late_total", "dropped_total"),
    *("has_energy", "kwh", "kwh_error"),
    *("saved_kwh", "saved_kwh_error", "saved_percent"),
)
"""The keys of a row, in the order of the columns."""


def build_sheets(report: Report, zone: tzinfo | None) -> tuple[Sheet, ...]:
    """Return a report as tables; times in a zone, None: the local one."""
    sheets = [_figures(report, zone)]
    if report["refusals"]:
        sheets.append(_refusals(report))
    if report["holds"]:
        sheets.append(_holds(report))
    return tuple(sheets)


def format_csv(report: Report) -> str:
    """Return the rows of a report as comma-separated values with a header."""
    text = io.StringIO()
    writer = csv.DictWriter(text, CSV_COLUMNS, extrasaction="ignore")
    writer.writeheader()
    writer.writerows(
        {key: printable(it) if isinstance(it, str) else it for key, it in row.items()}
        for row in report["rows"]
    )
    return text.getvalue()


def format_source(host: ReportHost) -> str:
    """Write where energies come from."""
    if host["source"] is None:
        return "not accounted for"
    text = _SOURCES.get(host["source"], host["source"])
    if host["source"] != "modelled" and not host["calibrated"]:
        text += ", static power not calibrated"
    return text


def row_label(row: ReportRow, by: str, zone: tzinfo | None) -> str:
    """Write what a row is about."""
    if row["since"] is None:
        return printable(row["domain"] or "")
    return format_time(row["since"], zone, _DAY if by == "day" else _HOUR)


def _facts(report: Report, zone: tzinfo | None) -> list[tuple[str, Cell]]:
    begin, end = (format_time(report[key], zone, _HOUR) for key in ("since", "until"))
    host = report["host"]
    facts = [
        ("Period", Cell(f"{begin} to {end}")),
        ("Recorded", Cell(format_duration(host["recorded_s"]))),
        ("Energy", Cell(format_source(host))),
    ]
    if host["source"] is not None:
        facts.append(
            ("Host", Cell(_used_and_saved(host, is_what_if=report["what_if"])))
        )
    co2_kg = host["saved_co2_kg"]
    co2_g = None if co2_kg is None else co2_kg * _GRAMS_PER_KG
    worth = format_worth(host["saved_money"], host["currency"], co2_g)
    if worth and host["source"] is not None:
        facts.append(("Worth", Cell(", ".join(worth))))
    if host["holes"]:
        text = f"unusable {host['holes']} times, modelled meanwhile"
        facts.append(("Meters", Cell(text, Style.BAD)))
    if report["what_if"]:
        facts.append(("What if", Cell("every request granted", Style.NOTABLE)))
    return facts


def _used_and_saved(host: ReportHost, *, is_what_if: bool) -> str:
    """Write what the packages used and the domains saved, or would have."""
    would = "would have " * is_what_if
    saved = format_energy(host["saved_kwh"], host["saved_kwh_error"])
    share = _share(host["saved_percent"])
    text = f"{would}used {format_energy(host['kwh'])}, {would}saved {saved}"
    return f"{text} ({share})" if share else text


def _share(percent: float | None) -> str:
    return "" if percent is None else format_share(percent / 100, digits=1)


def _ran(row: ReportRow) -> Cell:
    return Cell(format_duration(row["running_s"]), Style.QUIET)


def _figures(report: Report, zone: tzinfo | None) -> Sheet:
    is_by_domain = report["by"] == "domain"
    rows = tuple(
        (
            name(row_label(row, report["by"], zone)),
            *((_ran(row),) if is_by_domain else ()),
            frequency(row["mean_khz"]),
            count(row["requests_total"]),
            count(row["refused_total"], Style.BAD),
            count(row["late_total"] + row["dropped_total"], Style.BAD),
            Cell(format_energy(row["kwh"], row["kwh_error"]))
            if row["has_energy"]
            else NONE,
            Cell(format_energy(row["saved_kwh"], row["saved_kwh_error"]), Style.GOOD)
            if row["has_energy"]
            else NONE,
            Cell(share) if (share := _share(row["saved_percent"])) else NONE,
        )
        for row in report["rows"]
    )
    return Sheet(
        facts=tuple(_facts(report, zone)),
        columns=(
            Column(title="Domain" if is_by_domain else "Time"),
            *((_RAN,) if is_by_domain else ()),
            Column(title="Mean", is_right=True, rank=1),
            Column(title="Requests", is_right=True, rank=2),
            Column(title="Refused", is_right=True, rank=2),
            Column(title="Unanswered", is_right=True, rank=3),
            Column(title="Energy", is_right=True),
            Column(title="Saved", is_right=True),
            Column(title="Share", is_right=True, rank=1),
        ),
        rows=rows,
        notes=(Cell(printable(f"not recorded now: {report['problem']}"), Style.BAD),)
        if report["problem"]
        else (),
    )


def _refusals(report: Report) -> Sheet:
    return Sheet(
        columns=(
            Column(title="Domain", is_grouping=True),
            Column(title="Refused because"),
            Column(title="Requests", is_right=True),
        ),
        rows=tuple(
            (name(it["domain"]), Cell(it["reason"]), count(it["requests"], Style.BAD))
            for it in report["refusals"]
        ),
    )


def _holds(report: Report) -> Sheet:
    return Sheet(
        columns=(
            Column(title="Domain", is_grouping=True),
            Column(title="Kept up, or down, because"),
            Column(title="vCPU hours", is_right=True, rank=1),
            Column(title="Costs at most", is_right=True),
        ),
        rows=tuple(
            (
                name(it["domain"]),
                Cell(printable(it["text"])),
                Cell(f"{it['vcpu_h']:.1f}"),
                Cell(format_energy(it["kwh"])) if it["kwh"] else NONE,
            )
            for it in report["holds"]
            if it["kwh"] or it["vcpu_h"] >= _LEAST_SHOWN_H
        ),
        notes=(Cell("These costs are estimates from power curves.", Style.QUIET),),
    )


def format_moment(text: str, zone: tzinfo | None) -> str:
    """Write a time of a page."""
    return datetime.fromisoformat(text).astimezone(zone).strftime(_HOUR)


def build_advice_sheets(advice: AdviceList) -> tuple[Sheet, ...]:
    """Return advice as tables: one for each change."""
    days = f"{advice['days']:.1f} days of history"
    if not advice["advice"]:
        note = Cell(f"nothing to suggest, from {days}")
        return (Sheet(notes=(note,)),)
    sheets = [
        Sheet(
            facts=(
                ("Domain", name(one["domain"])),
                ("Because", Cell(printable(one["reason"]))),
                *(("Command", Cell(printable(it))) for it in one["commands"]),
                ("Saves", Cell(_per_day(one), Style.GOOD)),
                ("Risk", Cell(printable(one["risk"]))),
            )
        )
        for one in advice["advice"]
    ]
    note = Cell(f"Expected from {days}; nothing was changed.", Style.QUIET)
    return (*sheets, Sheet(notes=(note,)))


def _per_day(advice: Advice) -> str:
    saved, error = advice["saves_kwh_per_day"], advice["error_kwh_per_day"]
    return f"{format_energy(saved, error)} a day"
