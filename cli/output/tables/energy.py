# SPDX-License-Identifier: Apache-2.0
"""Tables of energy: what is saved first, because it is known best."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cli.output.tables.cells import NONE, find_step_name, frequency, name
from cli.output.tables.sheet import Cell, Column, Sheet, Style
from orchestrator.values.quantities import format_joules, format_watts, format_worth
from orchestrator.values.safe_text import printable

if TYPE_CHECKING:
    from collections.abc import Sequence

    from orchestrator.control.documents import (
        Cpu,
        Domain,
        DomainEnergy,
        Energy,
        EnergyOfDomain,
        EnergyPackage,
        HostEnergy,
        SavedValue,
    )

_DOMAIN_COLUMNS = (
    Column(title="Domain"),
    Column(title="Saved", is_right=True),
    Column(title="Possible", rank=3, is_right=True),
    Column(title="Saved total", is_right=True),
    Column(title="Power", rank=1, is_right=True),
    Column(title="Energy", rank=2, is_right=True),
)
_CURVE_COLUMNS = (
    Column(title="Package", is_right=True, is_grouping=True),
    Column(title="Frequency", is_right=True),
    Column(title="Polling", is_right=True),
    Column(title="Other", is_right=True),
)
_SHOWN_WATTS = 0.05
"""With one digit, less is not seen."""


def _saved_text(saved: SavedValue, joules: float) -> str:
    """Format what was saved: `1.20 kWh, 0.36 EUR, 420 g CO2`."""
    worth = format_worth(saved["money"], saved["currency"], saved["co2_g"])
    return ", ".join([format_joules(joules), *worth])


def host_fact(host: HostEnergy) -> Cell:
    """Show the host's energy in one line: saved, then measured."""
    saved = _saved_fact(host)
    return Cell(f"saving {saved.text}", saved.style)


def _saved_fact(host: HostEnergy) -> Cell:
    text = format_watts(host["saved_watts"], host["saved_error_watts"])
    text += f" of {format_watts(host['measured_watts'] + host['saved_watts'])}"
    text += f", {_saved_text(host['saved'], host['saved_joules_total'])} so far"
    if _is_more_possible(host):
        text += f"; {format_watts(host['possible_watts'])} if all votes were granted"
    if host["modelled"]:
        return Cell(f"{text}, modelled", Style.NOTABLE)
    return Cell(text)


def _is_more_possible(energy: HostEnergy | DomainEnergy) -> bool:
    more = energy["possible_watts"] - energy["saved_watts"]
    return more > _SHOWN_WATTS


def domain_fact(energy: DomainEnergy) -> Cell:
    """Show a domain's energy in one line."""
    text = f"saving {format_watts(energy['saved_watts'], energy['saved_error_watts'])}"
    text += f", {_saved_text(energy['saved'], energy['saved_joules_total'])} so far"
    if _is_more_possible(energy):
        text += f"; {format_watts(energy['possible_watts'])} if all votes were granted"
    return Cell(
        f"{text}; drawing {format_watts(energy['watts'], energy['error_watts'])}"
    )


def build_energy(document: Energy) -> tuple[Sheet, ...]:
    """Show the host and its domains."""
    host = document["host"]
    if host is None:
        return (Sheet(notes=(_missing(document),)),)
    return (
        Sheet(
            facts=_host_facts(host),
            columns=_DOMAIN_COLUMNS if document["domains"] else (),
            rows=tuple(_domain_row(it) for it in document["domains"]),
            notes=tuple(_notes(document, host)),
        ),
    )


def _missing(document: Energy) -> Cell:
    if document["enabled"]:
        return Cell("not accounted yet: try again in two seconds", Style.QUIET)
    return Cell("not accounted: '[energy] enabled' is false", Style.NOTABLE)


def _host_facts(host: HostEnergy) -> tuple[tuple[str, Cell], ...]:
    facts = [
        ("Saved", _saved_fact(host)),
        (
            "Processors",
            Cell(f"{format_watts(host['measured_watts'])}, {host['source']}"),
        ),
        ("Domains", Cell(format_watts(host["domains_watts"], host["error_watts"]))),
        ("Host's own", Cell(format_watts(host["host_watts"]))),
        ("Idle cores", Cell(format_watts(host["idle_watts"]))),
        ("Static", Cell(format_watts(host["static_watts"]))),
    ]
    for title, value in (
        ("Memory", host["dram_watts"]),
        ("Platform", host["psys_watts"]),
    ):
        if value is not None:
            facts.append((title, Cell(format_watts(value))))
    return tuple(facts)


def _domain_row(energy: EnergyOfDomain) -> tuple[Cell, ...]:
    return (
        name(energy["domain"]),
        Cell(format_watts(energy["saved_watts"], energy["saved_error_watts"])),
        Cell(format_watts(energy["possible_watts"]))
        if _is_more_possible(energy)
        else NONE,
        Cell(_saved_text(energy["saved"], energy["saved_joules_total"])),
        Cell(format_watts(energy["watts"], energy["error_watts"])),
        Cell(format_joules(energy["joules_total"])),
    )


def _notes(document: Energy, host: HostEnergy) -> list[Cell]:
    notes = []
    if host["hole"]:
        notes.append(f"the meters cannot be used now: {printable(host['hole'])}")
    if host["source"] == "modelled":
        profile = printable(document["profile"])
        notes.append(f"modelled: no energy meter; published figures of {profile}")
    if not host["static_calibrated"]:
        notes.append(
            "the static power is an estimate: while the host is idle, run 'vmpower"
            " energy calibrate --idle'"
        )
    for package in document["packages"]:
        if package["ceiling_khz"]:
            reached = frequency(package["ceiling_khz"]).text
            notes.append(
                f"package {package['package']} reaches {reached} at most now, whatever"
                " is granted"
            )
    return [Cell(note, Style.NOTABLE) for note in notes]


def explain_domain(
    document: Energy, domain: Domain, cpus: Sequence[Cpu]
) -> tuple[Sheet, ...]:
    """Show how a domain's energy was computed; with the host's CPUs."""
    energy, host = domain["energy"], document["host"]
    if energy is None or host is None:
        return (Sheet(notes=(_missing(document),)),)
    facts = (
        ("Name", name(domain["name"])),
        (
            "Saved",
            Cell(format_watts(energy["saved_watts"], energy["saved_error_watts"])),
        ),
        ("Power", Cell(format_watts(energy["watts"], energy["error_watts"]))),
        ("Meter", Cell(f"{host['source']}, {format_watts(host['measured_watts'])}")),
        ("Processors", Cell(printable(document["model"] or "unknown"))),
    )
    packages = document["packages"]
    rows = tuple(row for it in packages for row in _curve_rows(it, cpus))
    return (
        Sheet(facts=facts),
        *(Sheet(facts=_package_facts(it)) for it in packages),
        Sheet(columns=_CURVE_COLUMNS, rows=rows, notes=tuple(_notes(document, host))),
    )


def _package_facts(package: EnergyPackage) -> tuple[tuple[str, Cell], ...]:
    how = "calibrated" if package["static_calibrated"] else "of the processor's class"
    return (
        ("Package", Cell(str(package["package"]))),
        ("Static", Cell(f"{format_watts(package['static_watts'])}, {how}")),
        (
            "Residual",
            Cell(f"{format_watts(package['residual_watts'])} (spread of the meter)"),
        ),
        ("Learnt from", Cell(f"{package['observations_total']:,} s")),
    )


def _curve_rows(package: EnergyPackage, cpus: Sequence[Cpu]) -> list[tuple[Cell, ...]]:
    number = package["package"]
    own = [cpu for cpu in cpus if cpu["package"] in (number, None)]
    by_activity = {
        curve["activity"]: {it["khz"]: it["watts"] for it in curve["points"]}
        for curve in package["curves"]
    }
    poll, other = by_activity.get("poll", {}), by_activity.get("other", {})
    return [
        (
            Cell(str(number)),
            Cell(find_step_name(khz, own)),
            Cell(format_watts(poll[khz], digits=2)) if khz in poll else NONE,
            Cell(format_watts(other[khz], digits=2)) if khz in other else NONE,
        )
        for khz in sorted(poll.keys() | other.keys())
    ]
