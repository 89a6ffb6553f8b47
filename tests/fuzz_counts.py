# SPDX-License-Identifier: Apache-2.0
"""Counts the inputs of fuzz tests; `make fuzz` prints them.

Property tests are counted by hypothesis, sweeps by their property `inputs`.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Generator

    from _pytest.terminal import TerminalReporter

_INPUTS = "inputs"
_TRIED = re.compile(r"(\d+) (?:passing|failing)\b")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item,
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Add the count of a property test to its report."""
    report = yield
    statistics = getattr(item, "hypothesis_statistics", "")
    if report.when == "call" and statistics:
        count = sum(map(int, _TRIED.findall(statistics)))
        report.user_properties.append((_INPUTS, count))
    return report


def pytest_terminal_summary(
    terminalreporter: TerminalReporter, config: pytest.Config
) -> None:
    """Print the counts if only fuzz tests were selected."""
    if config.option.markexpr != "fuzz":
        return
    reports = [
        report
        for outcome in ("passed", "failed")
        for report in terminalreporter.getreports(outcome)
        if report.when == "call"
    ]
    terminalreporter.section("inputs tried")
    total = 0
    for report in sorted(reports, key=lambda report: report.nodeid):
        counts = dict(report.user_properties)
        inputs = int(counts.pop(_INPUTS, 0))
        total += inputs
        rest = ", ".join(f"{name} {count}" for name, count in counts.items())
        line = f"{inputs:9} {report.nodeid}" + (f" ({rest})" if rest else "")
        terminalreporter.write_line(line)
    terminalreporter.write_line(f"{total:9} in all")
