# SPDX-License-Identifier: Apache-2.0
"""Policies in one line of text, as people type them and metadata keeps them.

::

    utilisation up-above=0.9 vcpus=2-5
    workload high
    time-of-day busy="mon-fri 08:00-18:00" quiet=22:00-06:00 zone=Europe/Berlin
    traffic avg-pps=1800000 max-pps=2000000; branch-ratio vcpus=7
    epp=balance_power; latency=20us vcpus=2-5

The options are those of the configuration, with dashes or underscores; an option that
is a list is repeated for each of its items. `KIND=VALUE` is `KIND VALUE`. A semicolon
begins another policy.
Synchronization: none required, nothing is kept.
"""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING, Any

from orchestrator.errors import ConfigError
from orchestrator.policy.kinds.option import alternatives
from orchestrator.policy.rule import (
    ATTRIBUTES,
    PolicyRule,
    find_kind,
    find_option,
    find_problems,
    make_rule,
    options_for,
)
from orchestrator.values.cpuset import format_cpulist

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from orchestrator.policy.kinds.contract import PolicyKind
    from orchestrator.policy.kinds.option import Option
    from orchestrator.policy.subject import PolicyOrder

LONGEST = 4096
"""Characters; enough for 30 policies."""
_SEPARATOR = ";"


def parse_policies(text: str, *, match: str = "*") -> tuple[PolicyRule, ...]:
    """Read policies; an empty text has none.

    Args:
        text: as people type it.
        match: which domains the policies are for.

    Raises:
        ConfigError: the text is invalid; names the option.
    """
    if not text:
        return ()  # most domains; splitting nothing takes 25 µs
    if len(text) > LONGEST:
        raise ConfigError(
            f"policies are too long: {len(text)} characters, at most {LONGEST}"
        )
    return tuple(parse_policy(words, match=match) for words in _split(text) if words)


def parse_policy(words: Iterable[str], *, match: str = "*") -> PolicyRule:
    """Read one policy that is already split into words.

    Raises:
        ConfigError: it is invalid; names the option.
    """
    first, *option_words = words
    kind_word, sign, value = first.partition("=")
    kind = find_kind(kind_word)
    if sign:
        option_words.insert(0, value)
    values: dict[str, Any] = {}
    for word in option_words:
        option, value = _read_option(kind, word)
        if option.is_list:
            values[option.name] = (*values.get(option.name, ()), value)
        elif option.name in values:
            raise ConfigError(f"{spell(option.name)}: given twice")
        else:
            values[option.name] = value
    rule = make_rule(match, kind, values)
    if problems := list(find_problems(rule, spell)):
        raise ConfigError(
            "; ".join(
                f"{spell(problem.option)}: {problem.text}" for problem in problems
            )
        )
    return rule


def format_policy(rule: PolicyRule) -> str:
    """Write one policy so that it can be read again."""
    return _write(rule.kind, rule.plain_values)


def format_policies(rules: Iterable[PolicyRule]) -> str:
    """Write several policies so that they can be read again."""
    return f"{_SEPARATOR} ".join(map(format_policy, rules))


def describe(order: PolicyOrder) -> str:
    """Write a policy, as in `utilisation up-above=0.9 vcpus=0-3`.

    `parse_policies` makes the same policy of it. Options with their default are left
    out.
    """
    policy = order.policy
    values = {
        name: option.to_plain(getattr(policy, name))
        for name, option in policy.options().items()
        if getattr(policy, name) != option.default and policy.is_shown(name)
    }
    for option in ATTRIBUTES:
        if (value := getattr(order.attributes, option.name)) is not None:
            values[option.name] = option.to_plain(value)
    if order.vcpus is not None:
        values["vcpus"] = format_cpulist(order.vcpus)
    if order.macs is not None:
        values["macs"] = tuple(sorted(order.macs))
    return _write(policy.kind, values)


def spell(name: str) -> str:
    """Write the name of an option as people type it: `up-above`."""
    return name.replace("_", "-")


def _write(kind: PolicyKind, values: Mapping[str, Any]) -> str:
    words = [str(kind)]
    for name, option in options_for(kind).items():
        if name in values:
            words += _write_option(option, values[name])
    return shlex.join(words)


def _write_option(option: Option, value: Any) -> Iterator[str]:  # noqa: ANN401 - plain
    if option.is_bare:
        yield f"{value}{option.form.suffix}"
    else:
        for item in value if option.is_list else [value]:
            yield f"{spell(option.name)}={item}"


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
        reason = str(error)
        raise ConfigError(
            f"invalid policies '{text}': {reason[:1].lower()}{reason[1:]}"
        ) from error
    yield words


def _read_option(kind: PolicyKind, word: str) -> tuple[Option, Any]:
    """Split `NAME=VALUE`, or find the option whose value stands without its name."""
    name, sign, value = word.partition("=")
    if not sign:
        return _read_bare(kind, word)
    key = name.strip().lower().replace("-", "_")
    try:
        option = find_option(kind, key, spell)
        return option, option.read_text(value)
    except ConfigError as error:
        raise ConfigError(f"{name}: {error}") from error


def _read_bare(kind: PolicyKind, word: str) -> tuple[Option, Any]:
    options = options_for(kind)
    for option in options.values():
        if option.is_bare:
            return option, option.read_text(word)
    names = alternatives(f"{spell(name)}=..." for name in options)
    raise ConfigError(f"invalid option '{word}': expected {names}")
