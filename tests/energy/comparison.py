# SPDX-License-Identifier: Apache-2.0
"""The table of docs/energy.md: attributions of synthetic hosts beside the truth."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING

from tests.energy.hosts import HOSTS, STATIC_W, WRONG_STATIC, Run

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.energy.hosts import Host

INTERVALS = 2_000


@functools.cache
def run_of(host: Host) -> Run:
    """Return the run of a host, the same for all tests of a process."""
    return Run(host, INTERVALS)


def scaphandre(run: Run, domain: str) -> float:
    """Return P_host x T_vm / T_all: the exporter qemu of Scaphandre."""
    truth = run.truth
    return truth.measured * truth.busy_s[domain] / sum(truth.busy_s.values())


def kepler(run: Run, domain: str) -> float:
    """Return E x usage x T_vm / T_all: the power attribution guide of Kepler."""
    truth, host = run.truth, run.host
    cpus = host.cores * host.packages * (2 if host.is_smt else 1)
    usage = sum(truth.busy_s.values()) / (cpus * run.judged)
    return usage * scaphandre(run, domain)


def cycles(run: Run, domain: str) -> float:
    """Return the share of cycles of what is not static: counters without a model."""
    truth, host = run.truth, run.host
    dynamic = truth.measured - STATIC_W * host.packages * run.judged
    return dynamic * truth.cycles[domain] / sum(truth.cycles.values())


def vmpower(run: Run, domain: str) -> float:
    """Return what vmpower attributes."""
    return {str(uuid): it.joules for uuid, it in run.result.domains.items()}[domain]


def errors_of(run: Run, attribute: Callable[[Run, str], float]) -> dict[str, float]:
    """Return the relative error of an attribution, by domain."""
    drawn = run.truth.drawn
    return {it: attribute(run, it) / joules - 1 for it, joules in drawn.items()}


def saved_error(run: Run) -> float:
    """Return the relative error of what all domains saved together."""
    return run.result.host.saved_joules / sum(run.truth.saved.values()) - 1


def build_table() -> str:
    """Return the table in Markdown."""
    rows = [
        "| synthetic host | Scaphandre | Kepler | cycles | vmpower | vmpower: saved |",
        "|---|---|---|---|---|---|",
    ]
    for host in (*HOSTS, *WRONG_STATIC):
        run = run_of(host)
        cells = [
            _span(errors_of(run, method), digits)
            for method, digits in (
                (scaphandre, 0),
                (kepler, 0),
                (cycles, 0),
                (vmpower, 1),
            )
        ]
        rows.append(
            f"| {host.name} | {' | '.join(cells)} | {_text(saved_error(run), 1)} |"
        )
    return "\n".join(rows)


def _span(errors: dict[str, float], digits: int) -> str:
    least, most = min(errors.values()), max(errors.values())
    if len(errors) == 1:
        return _text(least, digits)
    return f"{_text(least, digits)} to {_text(most, digits)}"


def _text(error: float, digits: int) -> str:
    # Zero has no sign: which one it has depends on the last digit.
    text = f"{100 * error:+.{digits}f} %"
    return text if float(text[:-2]) else f"{0:.{digits}f} %"
