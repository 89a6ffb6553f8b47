# SPDX-License-Identifier: Apache-2.0
"""Checks and findings as values, and running all checks."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import TYPE_CHECKING, Any, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Iterable


class Severity(StrEnum):
    """How much a finding matters."""

    ERROR = "error"
    """vmpower does not work."""
    WARNING = "warning"
    """vmpower works, but not as expected."""
    INFO = "info"
    """Good to know; no action is needed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """A problem, or a fact worth knowing."""

    severity: Severity
    subject: str
    """What it is about: CPUs, a domain, a path."""
    what: str
    """One sentence, without a full stop."""
    fix: str = ""
    """How to fix it; empty: no action is needed."""
    check: str = ""
    """Id of the check, stable for programs; set when the check is run."""


def error(subject: str, what: str, fix: str) -> Finding:
    """Make a finding that keeps vmpower from working."""
    return Finding(severity=Severity.ERROR, subject=subject, what=what, fix=fix)


def warning(subject: str, what: str, fix: str) -> Finding:
    """Make a finding with an unexpected effect."""
    return Finding(severity=Severity.WARNING, subject=subject, what=what, fix=fix)


def info(subject: str, what: str, fix: str = "") -> Finding:
    """Make a finding that is good to know."""
    return Finding(severity=Severity.INFO, subject=subject, what=what, fix=fix)


@dataclass(frozen=True, slots=True)
class Missing:
    """Takes the place of a fact that could not be read."""

    reason: str
    fix: str
    """What makes it readable."""


Facts: TypeAlias = Mapping[type[Any], Any]
"""By their class."""
CheckFunction: TypeAlias = Callable[..., Iterator[Finding]]


@dataclass(frozen=True, slots=True)
class Check:
    """A function of facts, with its id."""

    name: str
    needs: tuple[type[Any], ...]
    """Classes of its arguments, in order."""
    function: CheckFunction
    purpose: str
    """The first line of its docstring."""

    def __call__(self, *facts: object) -> list[Finding]:
        """Run the check."""
        return [replace(item, check=self.name) for item in self.function(*facts)]


@dataclass(frozen=True, slots=True, kw_only=True)
class Diagnosis:
    """The result of all checks."""

    findings: tuple[Finding, ...]
    """The most severe first."""
    passed: tuple[str, ...]
    """Checks without an error or a warning."""
    skipped: Mapping[str, Missing]
    """Checks that could not be run, with the fact that was missing."""

    @property
    def is_healthy(self) -> bool:
        """Whether there is nothing to fix."""
        return all(item.severity is Severity.INFO for item in self.findings)


def check(*needs: type[Any]) -> Callable[[CheckFunction], Check]:
    """Make a check of a function that yields findings about facts of these classes.

    The function's name is the id of the check, with dashes.
    """

    def make(function: CheckFunction) -> Check:
        name = function.__name__.replace("_", "-")
        purpose = (function.__doc__ or "").partition("\n")[0]
        return Check(name, needs, function, purpose)

    return make


def checks_in(modules: Iterable[object]) -> tuple[Check, ...]:
    """Collect the checks of modules, in the order of the source."""
    return tuple(
        item
        for module in modules
        for item in vars(module).values()
        if isinstance(item, Check)
    )


def diagnose(checks: Iterable[Check], facts: Facts) -> Diagnosis:
    """Run checks on facts."""
    findings: list[Finding] = []
    passed: list[str] = []
    skipped: dict[str, Missing] = {}
    for each in checks:
        arguments = [facts[kind] for kind in each.needs]
        missing = [item for item in arguments if isinstance(item, Missing)]
        if missing:
            skipped[each.name] = missing[0]
            continue
        found = each(*arguments)
        findings += found
        if all(item.severity is Severity.INFO for item in found):
            passed.append(each.name)
    order = list(Severity)
    return Diagnosis(
        findings=tuple(sorted(findings, key=lambda item: order.index(item.severity))),
        passed=tuple(passed),
        skipped=skipped,
    )
