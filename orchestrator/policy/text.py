"""Policies in one line of text, as people type them and metadata keeps them.

::

    utilisation up-above=0.9 vcpus=2-5
    workload high
    time-of-day busy="mon-fri 08:00-18:00" quiet=22:00-06:00 zone=Europe/Berlin
    traffic avg-pps=1800000 max-pps=2000000; branch-ratio vcpus=7

The options are those of `PolicyRule`, with dashes or underscores; one that is a list is
written once for each of its items. A semicolon begins another policy.
Synchronization: none required, nothing is kept.
"""

from __future__ import annotations

import shlex
from dataclasses import MISSING, fields
from typing import TYPE_CHECKING, Any

from orchestrator.errors import ConfigError
from orchestrator.policy.kinds.time_of_day import TimeOfDay
from orchestrator.policy.kinds.workload import FixedWorkload
from orchestrator.policy.rule import (
    PolicyKind,
    PolicyRule,
    Workload,
    find_contradictions,
)
from orchestrator.policy.timetable import format_window
from orchestrator.values.cpuset import format_cpulist

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from orchestrator.policy.subject import PolicyOrder

LONGEST = 4096
"""Characters; 30 policies fit."""
_SEPARATOR = ";"
_LISTS = frozenset({"macs", "busy", "quiet", "traffic"})
_TEXTS = frozenset({"vcpus", "zone"})
_WHOLE = frozenset({"avg_pps", "max_pps", "calm_samples"})
_HINT = "write 'utilisation', 'workload high' or 'traffic avg-pps=1000 max-pps=9000'"


def parse_policies(text: str, *, match: str = "*") -> tuple[PolicyRule, ...]:
    """Read policies; an empty text is none.

    Args:
        text: what somebody wrote.
        match: whom they are for.

    Raises:
        ConfigError: it cannot be meant; names the word.
    """
    if len(text) > LONGEST:
        raise ConfigError(f"{len(text)} characters of policies", hint="say less")
    return tuple(parse_policy(words, match=match) for words in _split(text) if words)


def parse_policy(words: Iterable[str], *, match: str = "*") -> PolicyRule:
    """Read one policy that is already in words.

    Raises:
        ConfigError: it cannot be meant; names the word.
    """
    kind_word, *options = words
    if kind_word not in tuple(PolicyKind):
        raise ConfigError(
            f"'{kind_word}' is no kind of policy",
            hint=f"there are {', '.join(PolicyKind)}",
        )
    values: dict[str, Any] = {}
    for name, value in map(_read_option, options):
        if name in _LISTS:
            values[name] = (*values.get(name, ()), value)
        elif name in values:
            raise ConfigError(f"{_spell(name)} is said twice")
        else:
            values[name] = value
    rule = PolicyRule(match=match, kind=PolicyKind(kind_word), **values)
    if problems := list(find_contradictions(rule)):
        raise ConfigError(f"{kind_word}: {'; '.join(problems)}", hint=_HINT)
    return rule


def format_policy(rule: PolicyRule) -> str:
    """Write one policy so that it can be read again."""
    return shlex.join([str(rule.kind), *_options(rule)])


def format_policies(rules: Iterable[PolicyRule]) -> str:
    """Write several."""
    return f"{_SEPARATOR} ".join(map(format_policy, rules))


def _options(rule: PolicyRule) -> Iterator[str]:
    for item in fields(rule):
        value = getattr(rule, item.name)
        if item.name in ("match", "kind") or value is None:
            continue
        if item.name == "workload":
            yield str(value)
        elif item.name in _LISTS:
            yield from (f"{item.name}={each}" for each in value)
        else:
            yield f"{_spell(item.name)}={value}"


def _split(text: str) -> Iterator[list[str]]:
    lexer = shlex.shlex(text, posix=True, punctuation_chars=_SEPARATOR)
    lexer.whitespace_split = True
    lexer.commenters = ""
    words: list[str] = []
    try:
        for word in lexer:
            if set(word) == {_SEPARATOR}:
                yield words
                words = []
            else:
                words.append(word)
    except ValueError as error:
        raise ConfigError(f"'{text}': {error}", hint=_HINT) from error
    yield words


def _read_option(word: str) -> tuple[str, Any]:
    name, sign, value = word.partition("=")
    if not sign and name in tuple(Workload):
        return "workload", Workload(name)
    name = name.strip().lower().replace("-", "_")
    if not sign or name not in _CONVERTERS:
        known = ", ".join(map(_spell, _CONVERTERS))
        raise ConfigError(f"'{word}' is no option of a policy", hint=f"known: {known}")
    try:
        return name, _CONVERTERS[name](value)
    except ValueError as error:
        raise ConfigError(f"{_spell(name)}: '{value}' cannot be meant") from error


def _spell(name: str) -> str:
    return name.replace("_", "-")


def _converter(name: str) -> Callable[[str], Any]:
    if name in _LISTS or name in _TEXTS:
        return str
    if name == "workload":
        return Workload
    return int if name in _WHOLE else float


_CONVERTERS: Mapping[str, Callable[[str], Any]] = {
    item.name: _converter(item.name)
    for item in fields(PolicyRule)
    if item.name not in ("match", "kind")
}


_HIDDEN = frozenset({"window", "fewest_branches_per_s"})
"""Nobody can choose them."""


def describe(order: PolicyOrder) -> str:
    """Write a policy, as in `utilisation up-above=0.9 vcpus=0-3`.

    `policy_text.parse_policies` makes the same policy of it.
    """
    words = [str(order.policy.kind), *_parameters(order.policy)]
    if order.vcpus is not None:
        words.append(f"vcpus={format_cpulist(order.vcpus)}")
    words += [f"macs={mac}" for mac in sorted(order.macs or ())]
    return shlex.join(words)


def _parameters(policy: Any) -> Iterator[str]:  # noqa: ANN401 - one of several classes
    if isinstance(policy, TimeOfDay):
        yield from _times(policy)
        return
    if isinstance(policy, FixedWorkload):
        yield str(policy.workload)
    for item in fields(policy):
        value = getattr(policy, item.name)
        is_plain = value == item.default and item.default is not MISSING
        if not is_plain and item.name not in (*_HIDDEN, "workload"):
            yield f"{item.name.replace('_', '-')}={value}"


def _times(policy: TimeOfDay) -> Iterator[str]:
    kinds = {
        "busy": policy.busy,
        "quiet": policy.quiet,
        "traffic": policy.by_traffic if policy.traffic else (),
    }
    for name, windows in kinds.items():
        yield from (f"{name}={format_window(window)}" for window in windows)
    if policy.traffic is not None:
        yield f"avg-pps={policy.traffic.avg_pps}"
        yield f"max-pps={policy.traffic.max_pps}"
    if policy.zone is not None:
        yield f"zone={policy.zone.key}"
    if policy.period_s != TimeOfDay.__dataclass_fields__["period_s"].default:
        yield f"period-s={policy.period_s}"
