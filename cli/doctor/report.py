"""The examination as a document, and as tables."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from cli.doctor.finding import Severity
from cli.output.tables.cells import NONE, frequency, plural
from cli.output.tables.sheet import Cell, Column, Sheet, Style
from orchestrator.values.cpuset import format_cpulist
from orchestrator.values.safe_text import printable

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from cli.doctor.abilities import Ability
    from cli.doctor.examination import Examination, Missing
    from cli.doctor.finding import Finding

SCHEMA = 1
"""Raised when a key of the document changes its meaning."""
_STYLES = {
    Severity.ERROR: Style.BAD,
    Severity.WARNING: Style.NOTABLE,
    Severity.INFO: Style.QUIET,
}
_CPU_COLUMNS = (
    Column(title="CPUs"),
    Column(title="Driver"),
    Column(title="Governor", rank=1),
    Column(title="Lowest", is_right=True),
    Column(title="Highest", is_right=True),
    Column(title="vmpower can"),
)


def build_document(
    examination: Examination, abilities: Sequence[Ability]
) -> dict[str, Any]:
    """Make the document for programs; its keys and the checks' names are stable."""
    return {
        "schema": SCHEMA,
        "healthy": examination.is_healthy,
        "findings": [
            {
                "id": finding.check,
                "severity": str(finding.severity),
                "subject": finding.subject,
                "what": finding.what,
                "cure": finding.cure or None,
            }
            for finding in examination.findings
        ],
        "passed": list(examination.passed),
        "unchecked": [
            {"id": name, "reason": lack.why, "cure": lack.cure or None}
            for name, lack in examination.unchecked.items()
        ],
        "cpus": [{**asdict(item), "reason": item.reason or None} for item in abilities],
    }


def build_sheets(
    examination: Examination, abilities: Sequence[Ability]
) -> tuple[Sheet, ...]:
    """Make what people read: the CPUs, what was found, what could not be looked at."""
    sheets = [_cpus(abilities)] if abilities else []
    sheets += [_finding(finding) for finding in examination.findings]
    sheets += [_unchecked(*lack) for lack in _by_lack(examination)]
    return (*sheets, Sheet(notes=(Cell(_verdict(examination), Style.QUIET),)))


def _cpus(abilities: Iterable[Ability]) -> Sheet:
    rows = tuple(
        (
            Cell(format_cpulist(item.pcpus), Style.NAME),
            Cell(item.driver) if item.driver else NONE,
            Cell(item.governor) if item.governor else NONE,
            frequency(item.min_khz),
            frequency(item.max_khz),
            _ability(item),
        )
        for item in abilities
    )
    return Sheet(columns=_CPU_COLUMNS, rows=rows)


def _ability(item: Ability) -> Cell:
    if item.reason:
        return Cell(f"nothing: {printable(item.reason)}", Style.BAD)
    turbo = ", turbo" if item.has_turbo else ""
    return Cell(f"set {plural(item.steps, 'step')}{turbo}", Style.GOOD)


def _finding(finding: Finding) -> Sheet:
    what = f"{printable(finding.subject)}: {printable(finding.what)}"
    facts = [(str(finding.severity), Cell(what, _STYLES[finding.severity]))]
    if finding.cure:
        facts.append(("cure", Cell(printable(finding.cure))))
    return Sheet(facts=tuple(facts))


def _by_lack(examination: Examination) -> Iterable[tuple[Missing, list[str]]]:
    """Put checks together that lacked the same."""
    found: dict[Missing, list[str]] = {}
    for name, lack in examination.unchecked.items():
        found.setdefault(lack, []).append(name)
    return found.items()


def _unchecked(lack: Missing, names: list[str]) -> Sheet:
    facts = [
        ("not checked", Cell(", ".join(names), Style.NOTABLE)),
        ("because", Cell(printable(lack.why))),
    ]
    if lack.cure:
        facts.append(("cure", Cell(printable(lack.cure))))
    return Sheet(facts=tuple(facts))


def _verdict(examination: Examination) -> str:
    counted = [
        plural(number, str(severity))
        for severity in (Severity.ERROR, Severity.WARNING)
        if (number := sum(f.severity is severity for f in examination.findings))
    ]
    passed = f"{plural(len(examination.passed), 'check')} passed"
    if examination.unchecked:
        passed += f", {len(examination.unchecked)} could not be made"
    if not counted:
        return f"nothing is wrong: {passed}"
    return f"{', '.join(counted)}; {passed}"
