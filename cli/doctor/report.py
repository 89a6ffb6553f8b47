# SPDX-License-Identifier: Apache-2.0
"""The diagnosis as a JSON document, and as tables."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cli.doctor.diagnosis import Severity
from cli.output.tables.cells import NONE, frequency, plural
from cli.output.tables.sheet import Cell, Column, Sheet, Style
from orchestrator.values.cpuset import format_cpulist
from orchestrator.values.safe_text import printable

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from cli.doctor.diagnosis import Diagnosis, Finding, Missing
    from cli.output import doctor_documents
    from cli.output.doctor_documents import CapableCpus

_STYLES = {
    Severity.ERROR: Style.BAD,
    Severity.WARNING: Style.NOTABLE,
    Severity.INFO: Style.QUIET,
}
_CPU_COLUMNS = (
    Column(title="CPUs"),
    Column(title="Driver"),
    Column(title="Mode"),
    Column(title="Governor", rank=1),
    Column(title="Min", is_right=True),
    Column(title="Nominal", is_right=True),
    Column(title="Max", is_right=True),
    Column(title="Control"),
)


def build_document(
    diagnosis: Diagnosis, capabilities: list[CapableCpus]
) -> doctor_documents.Diagnosis:
    """Build the JSON document; its keys and the ids of checks are stable."""
    return {
        "healthy": diagnosis.is_healthy,
        "findings": [
            {
                "id": finding.check,
                "severity": str(finding.severity),
                "subject": finding.subject,
                "what": finding.what,
                "fix": finding.fix or None,
                "cure": finding.fix or None,  # the earlier name
            }
            for finding in diagnosis.findings
        ],
        "passed": list(diagnosis.passed),
        "unchecked": [
            {
                "id": name,
                "reason": missing.reason,
                "fix": missing.fix or None,
                "cure": missing.fix or None,
            }
            for name, missing in diagnosis.skipped.items()
        ],
        "cpus": capabilities,
    }


def build_sheets(
    diagnosis: Diagnosis, capabilities: Sequence[CapableCpus]
) -> tuple[Sheet, ...]:
    """Build the tables: CPUs, findings, skipped checks, a summary."""
    sheets = [_cpus(capabilities)] if capabilities else []
    sheets += [_finding(finding) for finding in diagnosis.findings]
    sheets += [_skipped(*item) for item in _by_missing_fact(diagnosis)]
    return (*sheets, Sheet(notes=(Cell(_summary(diagnosis), Style.QUIET),)))


def _cpus(capabilities: Iterable[CapableCpus]) -> Sheet:
    rows = tuple(
        (
            Cell(format_cpulist(item["pcpus"]), Style.NAME),
            Cell(item["driver"]) if item["driver"] else NONE,
            Cell(item["mode"]) if item["mode"] else NONE,
            Cell(item["governor"]) if item["governor"] else NONE,
            frequency(item["min_khz"]),
            frequency(item["nominal_khz"]),
            frequency(item["max_khz"]),
            _control(item),
        )
        for item in capabilities
    )
    return Sheet(columns=_CPU_COLUMNS, rows=rows)


def _control(item: CapableCpus) -> Cell:
    if item["reason"]:
        return Cell(f"none: {printable(item['reason'])}", Style.BAD)
    turbo = ", turbo" if item["has_turbo"] else ""
    steps = plural(item["steps"], "step")
    return Cell(f"{item['mechanism']}: {steps}{turbo}", Style.GOOD)


def _finding(finding: Finding) -> Sheet:
    what = f"{printable(finding.subject)}: {printable(finding.what)}"
    facts = [(str(finding.severity), Cell(what, _STYLES[finding.severity]))]
    if finding.fix:
        facts.append(("fix", Cell(printable(finding.fix))))
    return Sheet(facts=tuple(facts))


def _by_missing_fact(diagnosis: Diagnosis) -> Iterable[tuple[Missing, list[str]]]:
    """Group skipped checks by what they lacked."""
    found: dict[Missing, list[str]] = {}
    for name, missing in diagnosis.skipped.items():
        found.setdefault(missing, []).append(name)
    return found.items()


def _skipped(missing: Missing, names: list[str]) -> Sheet:
    what = names[0] if len(names) == 1 else plural(len(names), "check")
    facts = [("skipped", Cell(f"{what}: {printable(missing.reason)}", Style.NOTABLE))]
    if missing.fix:
        facts.append(("fix", Cell(printable(missing.fix))))
    return Sheet(facts=tuple(facts))


def _summary(diagnosis: Diagnosis) -> str:
    counts = [
        plural(number, str(severity))
        for severity in (Severity.ERROR, Severity.WARNING)
        if (number := sum(f.severity is severity for f in diagnosis.findings))
    ]
    checks = f"{plural(len(diagnosis.passed), 'check')} passed"
    if diagnosis.skipped:
        checks += f", {len(diagnosis.skipped)} skipped"
    return f"{', '.join(counts) or 'no problems found'}; {checks}"
