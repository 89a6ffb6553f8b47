# SPDX-License-Identifier: Apache-2.0
"""`make corpus DIR=...`: try every domain XML below a directory.

Prints counts and failures. Files that are no domain XML are skipped. See
`trials` for what is tried.
"""

from __future__ import annotations

import sys
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

from domain_templates.schema import SCHEMA, load_rules
from orchestrator.errors import DomainXmlError
from scripts.corpus.trials import Report, Trials

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

USAGE = "usage: make corpus DIR=DIRECTORY, or python -m scripts.corpus DIR...\n"


def main(arguments: Sequence[str]) -> int:
    """Try the files; return the exit status: 1 if a trial failed or nothing was tried.

    Options: `--refused` also prints what was refused.
    """
    directories = [Path(each) for each in arguments if not each.startswith("-")]
    if not directories or not all(each.is_dir() for each in directories):
        sys.stderr.write(USAGE)
        return 2
    rules = load_rules()
    if rules is None:
        _write(f"not validated by libvirt's schema: no such file: {SCHEMA}")
    reports = dict(_try_all(Trials(rules), _find_files(directories)))
    for path, report in reports.items():
        for trial, message in report.failed.items():
            _write(f"FAILED {path}: {trial}: {message}")
        for trial, message in (
            report.refused.items() if "--refused" in arguments else ()
        ):
            _write(f"refused {path}: {trial}: {message}")
    _print_counts(reports.values())
    has_failed = any(report.failed for report in reports.values())
    return 1 if has_failed or not reports else 0


def _find_files(directories: Iterable[Path]) -> Iterator[Path]:
    for directory in directories:
        yield from sorted(directory.rglob("*.xml"))


def _try_all(trials: Trials, paths: Iterable[Path]) -> Iterator[tuple[Path, Report]]:
    for path in paths:
        report = Report()
        try:
            trials.run(path.read_text(encoding="utf-8"), report)
        except (DomainXmlError, UnicodeDecodeError, OSError):
            continue  # no domain XML
        yield path, report


def _print_counts(reports: Iterable[Report]) -> None:
    counts: Counter[tuple[str, str]] = Counter()
    names: dict[str, None] = {}
    total = 0
    for report in reports:
        total += 1
        results = {
            "passed": report.passed,
            "refused": report.refused,
            "failed": report.failed,
        }
        for result, trials in results.items():
            for trial in trials:
                counts[trial, result] += 1
                names[trial] = None
    _write(f"{total} domains")
    for trial in names:
        passed, refused, failed = (
            counts[trial, result] for result in ("passed", "refused", "failed")
        )
        _write(f"{trial}: {passed} passed, {refused} refused, {failed} failed")


def _write(line: str) -> None:
    sys.stdout.write(f"{line}\n")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
