# SPDX-License-Identifier: Apache-2.0
"""The results of the trials of one domain, and their counts."""

from __future__ import annotations

from collections import Counter
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from orchestrator.errors import ConfigError, DomainXmlError, HypervisorError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator


class Failed(Exception):  # noqa: N818 - as pytest calls it
    """A trial failed; the text says how."""


@dataclass(slots=True)
class Report:
    """The results of one domain."""

    passed: list[str] = field(default_factory=list)
    """Names of trials."""
    refused: dict[str, str] = field(default_factory=dict)
    """Names of trials, and the message of the product or of libvirtd."""
    failed: dict[str, str] = field(default_factory=dict)

    @contextmanager
    def result_of(self, trial: str) -> Iterator[None]:
        """Record whether a trial passes, is refused or fails."""
        try:
            yield
        except (ConfigError, DomainXmlError, HypervisorError) as error:
            self.refused[trial] = str(error)
        except Failed as failure:
            self.failed[trial] = str(failure)
        except Exception as error:  # noqa: BLE001 - it is what is looked for
            self.failed[trial] = f"{type(error).__name__}: {error}"
        else:
            self.passed.append(trial)


def count(reports: Iterable[Report]) -> Iterator[str]:
    """Return the number of domains, and that of each result of each trial, as lines."""
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
    yield f"{total} domains"
    for trial in names:
        passed, refused, failed = (
            counts[trial, result] for result in ("passed", "refused", "failed")
        )
        yield f"{trial}: {passed} passed, {refused} refused, {failed} failed"
