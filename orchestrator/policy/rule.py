# SPDX-License-Identifier: Apache-2.0
"""A policy as the configuration has it, `[[policy]]`: read, checked, made a policy.

The options of a rule are those of its kind (`policy.kinds`) and some that several kinds
share: `vcpus`, `macs` where interfaces are sampled, and what a policy that votes holds
besides.
Synchronization: none required, everything here is immutable.
"""

from __future__ import annotations

import difflib
import re
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from orchestrator.errors import ConfigError
from orchestrator.policy.kinds.option import Form, Option, Problem, alternatives
from orchestrator.policy.kinds.table import KINDS
from orchestrator.values.cpu_attributes import CpuAttributes
from orchestrator.values.cpuset import parse_cpulist

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from orchestrator.policy.kinds.contract import Policy, PolicyKind
    from orchestrator.policy.kinds.option import Spelling

_MAC = re.compile(r"[0-9a-f]{2}([:-][0-9a-f]{2}){5}|[0-9a-f]{4}(:[0-9a-f]{4}){2}")
"""Both forms that DPDK's rte_ether_unformat_addr() takes, and dashes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PolicyRule:
    """A policy for the domains that it matches.

    If several rules cover a vCPU, the first one applies.
    """

    match: str
    """Shell pattern of the domain's name, or its UUID."""
    kind: PolicyKind
    """What the frequency depends on."""
    vcpus: str | None = None
    """vCPUs that the policy applies to, as in "0-3"; without it, all."""
    macs: tuple[str, ...] | None = None
    """MAC addresses of the interfaces to watch; without it, all of the domain."""
    options: Mapping[str, object] = field(default_factory=dict)
    """Options of the kind, and attributes to hold, by name; plain values."""

    @property
    def plain_values(self) -> dict[str, Any]:
        """Everything but `match` and `kind` that is set, by name."""
        common = {"vcpus": self.vcpus, "macs": self.macs}
        return {
            **self.options,
            **{name: value for name, value in common.items() if value is not None},
        }

    def to_table(self) -> dict[str, Any]:
        """Return the rule as a configuration file has it, defaults included."""
        options = options_for(self.kind)
        defaults = {
            name: option.to_plain(option.default)
            for name, option in options.items()
            if not option.is_required
        }
        return {
            "match": self.match,
            "kind": self.kind,
            **defaults,
            **self.plain_values,
        }

    def build_policy(self) -> Policy[Any, Any]:
        """Make the policy.

        Raises:
            ConfigError: the rule has problems.
        """
        cls = KINDS[self.kind]
        options = cls.options()
        return cls(
            **{
                name: options[name].parse(it)
                for name, it in self.options.items()
                if name in options
            }
        )

    def build_attributes(self) -> CpuAttributes:
        """Return what the CPUs of its vCPUs are to be held at besides its vote.

        Raises:
            ConfigError: the rule has problems.
        """
        own = KINDS[self.kind].options()
        return CpuAttributes(
            **{
                option.name: option.parse(self.options[option.name])
                for option in ATTRIBUTES
                if option.name in self.options and option.name not in own
            }
        )


def make_rule(match: str, kind: PolicyKind, values: Mapping[str, Any]) -> PolicyRule:
    """Make a rule of plain values by name; they are not checked."""
    options = dict(values)
    vcpus, macs = options.pop("vcpus", None), options.pop("macs", None)
    return PolicyRule(match=match, kind=kind, vcpus=vcpus, macs=macs, options=options)


def read_rule(table: Mapping[str, object]) -> tuple[PolicyRule | None, list[Problem]]:
    """Read a rule from a table of a TOML file.

    Returns:
        The rule, or None and its problems.
    """
    match, word = table.get("match"), table.get("kind")
    if not isinstance(match, str):
        is_missing = match is None
        text = "missing" if is_missing else f"expected text, got {match!r}"
        return None, [Problem("match", text)]
    try:
        kind = find_kind(word)
    except ConfigError as error:
        return None, [Problem("kind", str(error))]
    values: dict[str, Any] = {}
    problems = list(_read_options(kind, table, values))
    rule = make_rule(match, kind, values)
    problems = problems or list(find_problems(rule))
    return (None if problems else rule), problems


def _read_options(
    kind: PolicyKind, table: Mapping[str, object], values: dict[str, Any]
) -> Iterator[Problem]:
    """Put plain values by name into `values`; yield what is wrong."""
    for key, plain in table.items():
        # TOML has no null; JSON, which `vmpowerd --show-config` writes, has.
        if key in ("match", "kind") or plain is None:
            continue
        try:
            option = find_option(kind, key)
            value = option.read_toml(plain)
        except ConfigError as error:
            yield Problem(key, str(error))
            continue
        if option.name in values:
            yield Problem(option.alias, f"former name of {option.name}: give one")
        values[option.name] = value


def find_kind(word: object) -> PolicyKind:
    """Return the kind of this name.

    Raises:
        ConfigError: there is none, or no name; suggests the nearest.
    """
    for kind in KINDS:
        if kind == word:
            return kind
    if word is None:
        raise ConfigError(f"missing, expected {alternatives(KINDS)}")
    raise ConfigError(f"unknown policy kind '{word}'{_suggest(str(word), KINDS)}")


def options_for(kind: PolicyKind) -> dict[str, Option]:
    """Return all options of rules of a kind, in order, by name."""
    cls = KINDS[kind]
    shared = [VCPUS]
    if cls.sample is not None and cls.sample.is_of_interfaces:
        shared.append(MACS)
    if cls.is_voting():
        shared += ATTRIBUTES
    return {**cls.options(), **{option.name: option for option in shared}}


def kinds_with(option: Option) -> list[PolicyKind]:
    """Return the kinds that have a shared option."""
    return [kind for kind in KINDS if option in options_for(kind).values()]


def find_option(
    kind: PolicyKind, name: str, spell: Spelling = lambda name: name
) -> Option:
    """Return the option of this name.

    Args:
        kind: of the policy.
        name: with underscores.
        spell: writes names in errors.

    Raises:
        ConfigError: the kind has none; suggests the nearest.
    """
    options = options_for(kind)
    for option in options.values():
        if name in (option.name, option.alias):
            return option
    suggestion = _suggest(spell(name), map(spell, options))
    raise ConfigError(f"unknown option of policy kind '{kind}'{suggestion}")


def find_problems(
    rule: PolicyRule, spell: Spelling = lambda name: name
) -> Iterator[Problem]:
    """Yield everything that is wrong with a rule.

    Args:
        rule: its kind is one of the table, its values have the right types.
        spell: writes the names of options in texts.
    """
    options, values, is_sound = options_for(rule.kind), rule.plain_values, True
    for problem in _find_single_problems(options, values):
        is_sound = False
        yield problem
    if is_sound:
        yield from rule.build_policy().problems(spell)


def _find_single_problems(
    options: Mapping[str, Option], values: Mapping[str, Any]
) -> Iterator[Problem]:
    for name, value in values.items():
        try:
            options[name].parse(value)
        except ConfigError as error:
            yield Problem(name, str(error))
    for option in options.values():
        if option.is_required and option.name not in values:
            yield Problem(option.name, f"missing, expected {option.expected}")


def parse_mac(text: str) -> str:
    """Bring a MAC address into the one form that is compared: `52:54:00:12:34:56`.

    Raises:
        ConfigError: it is not a MAC address.
    """
    word = text.strip().lower()
    if not _MAC.fullmatch(word):
        raise ConfigError(f"invalid MAC address '{text}': expected 52:54:00:12:34:56")
    return bytes.fromhex(re.sub("[:-]", "", word)).hex(":")


def _parse_vcpus(text: str) -> frozenset[int]:
    vcpus = parse_cpulist(text, noun="vCPU")
    if not vcpus:
        raise ConfigError(f"invalid list of vCPUs '{text}': expected 0-3,8")
    return vcpus


def _suggest(word: str, known: Iterable[str]) -> str:
    """Complete an error: with the nearest of the known words, else with all."""
    words, begin = list(known), word.lower()
    near = difflib.get_close_matches(begin, words, n=1)
    near = near or [it for it in words if begin and it.startswith(begin)]
    if near:
        return f"; did you mean '{near[0]}'?"
    return f": expected {alternatives(words)}"


VCPUS = Option(
    name="vcpus",
    doc='vCPUs that the policy applies to, as in "0-3,8"; without it, all.',
    form=Form(noun="list of vCPUs", plain=str, parse=_parse_vcpus, to_plain=str),
    default=None,
)
MACS = Option(
    name="macs",
    doc="Interfaces to watch; without it, all of the domain.",
    form=Form(
        noun="MAC address",
        plural="MAC addresses",
        plain=str,
        parse=parse_mac,
        to_plain=str,
    ),
    is_list=True,
    default=None,
)
ATTRIBUTES = tuple(
    replace(option, default=None, is_bare=False)
    for kind in KINDS.values()
    if not kind.is_voting()
    for option in kind.options().values()
)
"""What a policy that votes can hold besides: what the other kinds hold."""
SHARED_OPTIONS = (VCPUS, MACS, *ATTRIBUTES)
"""Options that do not belong to a kind."""
