# SPDX-License-Identifier: Apache-2.0
"""`make corpus DIR=...`: try every domain XML below a directory.

Prints counts and failures. Files that are no domain XML are skipped. See `trials` and
`libvirtd` for what is tried.
"""

from __future__ import annotations

import signal
import sys
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

from domain_templates.schema import SCHEMA, load_rules
from orchestrator.errors import DomainXmlError
from scripts.corpus.libvirtd import private_libvirtd
from scripts.corpus.report import Report, count
from scripts.corpus.trials import Trials

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence
    from contextlib import AbstractContextManager

    from scripts.corpus.libvirtd import LibvirtdTrials
    from scripts.corpus.trials import Product

USAGE = "usage: make corpus DIR=DIRECTORY, or python -m scripts.corpus DIR...\n"
_SHOW_REFUSED = "--refused"


def main(
    arguments: Sequence[str],
    start: Callable[[], AbstractContextManager[LibvirtdTrials]] = private_libvirtd,
    product: Product | None = None,
) -> int:
    """Try the files; return the exit status: 1 if a trial failed or nothing was tried.

    Options: `--refused` also prints what was refused.

    Args:
        arguments: of the command line.
        start: starts a libvirtd.
        product: to try; None: this one.
    """
    directories = [Path(each) for each in arguments if not each.startswith("-")]
    if not directories or not all(each.is_dir() for each in directories):
        sys.stderr.write(USAGE)
        return 2
    rules = load_rules()
    if rules is None:
        _write(f"not validated by libvirt's schema: no such file: {SCHEMA}")
    reports: list[Report] = []
    with ExitStack() as stack:
        libvirtd = None
        try:
            libvirtd = stack.enter_context(start())
        except FileNotFoundError as error:
            _write(f"not tried with libvirtd: {error}")
        tried = _try_all(Trials(rules, product), libvirtd, _find_files(directories))
        for path, report in tried:
            reports.append(report)
            _print_results("FAILED", path, report.failed)
            if _SHOW_REFUSED in arguments:
                _print_results("refused", path, report.refused)
    for line in count(reports):
        _write(line)
    has_failed = any(report.failed for report in reports)
    return 1 if has_failed or not reports else 0


def _find_files(directories: Iterable[Path]) -> Iterator[Path]:
    for directory in directories:
        yield from sorted(directory.rglob("*.xml"))


def _try_all(
    trials: Trials, libvirtd: LibvirtdTrials | None, paths: Iterable[Path]
) -> Iterator[tuple[Path, Report]]:
    for path in paths:
        report = Report()
        try:
            results = trials.run(path.read_text(encoding="utf-8"), report)
        except (DomainXmlError, UnicodeDecodeError, OSError):
            continue  # no domain XML
        if libvirtd is not None:
            libvirtd.run(results, report)
        yield path, report


def _print_results(result: str, path: Path, messages: dict[str, str]) -> None:
    for trial, message in messages.items():
        _write(f"{result} {path}: {trial}: {message}")


def _write(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    # So that a libvirtd does not outlive it.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    sys.exit(main(sys.argv[1:]))
