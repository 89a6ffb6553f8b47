"""Checks as values, and what comes of running all of them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, TypeAlias

from cli.doctor.finding import Finding, Severity

if TYPE_CHECKING:
    from collections.abc import Iterable


@dataclass(frozen=True, slots=True)
class Missing:
    """A fact that could not be had."""

    why: str
    cure: str
    """What to do to have it."""


Facts: TypeAlias = Mapping[type[Any], Any]
"""By their class; a `Missing` stands in the place of one that could not be had."""
Judge: TypeAlias = Callable[..., Iterator[Finding]]


@dataclass(frozen=True, slots=True)
class Check:
    """A function of facts, and what it is called."""

    name: str
    needs: tuple[type[Any], ...]
    """Classes of the facts that it is given, in this order."""
    judge: Judge
    purpose: str
    """The first line of its docstring."""

    def __call__(self, *facts: object) -> list[Finding]:
        """Judge facts."""
        return [replace(item, check=self.name) for item in self.judge(*facts)]


@dataclass(frozen=True, slots=True, kw_only=True)
class Examination:
    """What came of it."""

    findings: tuple[Finding, ...]
    """The gravest first."""
    passed: tuple[str, ...]
    """Checks that found nothing grave."""
    unchecked: Mapping[str, Missing]
    """Checks that could not be made, with what they lacked."""

    @property
    def is_healthy(self) -> bool:
        """Whether nothing has to be done."""
        return all(item.severity is Severity.INFO for item in self.findings)


def check(*needs: type[Any]) -> Callable[[Judge], Check]:
    """Make a check of a function that yields findings about facts of these classes."""

    def make(judge: Judge) -> Check:
        name = judge.__name__.replace("_", "-")
        purpose = (judge.__doc__ or "").partition("\n")[0]
        return Check(name, needs, judge, purpose)

    return make


def checks_in(modules: Iterable[object]) -> tuple[Check, ...]:
    """Collect the checks of modules, in the order in which they are written."""
    return tuple(
        item
        for module in modules
        for item in vars(module).values()
        if isinstance(item, Check)
    )


def examine(checks: Iterable[Check], facts: Facts) -> Examination:
    """Run checks on facts."""
    findings: list[Finding] = []
    passed: list[str] = []
    unchecked: dict[str, Missing] = {}
    for each in checks:
        given = [facts[kind] for kind in each.needs]
        lacking = [item for item in given if isinstance(item, Missing)]
        if lacking:
            unchecked[each.name] = lacking[0]
            continue
        found = each(*given)
        findings += found
        if all(item.severity is Severity.INFO for item in found):
            passed.append(each.name)
    order = list(Severity)
    return Examination(
        findings=tuple(sorted(findings, key=lambda item: order.index(item.severity))),
        passed=tuple(passed),
        unchecked=unchecked,
    )
