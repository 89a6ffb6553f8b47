# SPDX-License-Identifier: Apache-2.0
"""Tables of policies."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING

from cli.output.tables.cells import NONE, is_simulated, name
from cli.output.tables.sheet import Cell, Column, Sheet, Style
from orchestrator.values.cpuset import format_cpulist
from orchestrator.values.safe_text import printable
from orchestrator.values.units import format_khz

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from orchestrator.control.documents import (
        Cpu,
        Policy,
        PolicyChange,
        PolicyList,
        PolicyWant,
    )

DEFAULT_NAME = "default"
"""Name of a policy of 'policy set' that was given none."""
_DOMAIN = Column(title="Domain", is_grouping=True)
_COLUMNS = (
    Column(title="Source"),
    Column(title="Policy"),
    Column(title="vCPUs", rank=2),
    Column(title="Wants", rank=1),
)
_CHANGE = Column(title="Next change", rank=3)
_PREVIEW_COLUMNS = (
    Column(title="From"),
    Column(title="Until", rank=1),
    Column(title="Frequency"),
)
_TIME = "%a %Y-%m-%d %H:%M %z"
_STYLES = {"operator": Style.NOTABLE, "guest": Style.PLAIN}
_NO_VOTE = "no preference"
_LEVELS = {"none": _NO_VOTE, "sampled": "by samples"}
_OVERRULED = "overruled"
"""A policy of a source with higher precedence counts."""


def build_policies(document: PolicyList, cpus: list[Cpu]) -> tuple[Sheet, ...]:
    """List policies of many domains, for the frequencies of these CPUs."""
    policies = document["policies"]
    simulated = ("CPUs", Cell("simulated", Style.NOTABLE))
    return (
        Sheet(
            facts=(simulated,) if is_simulated(cpus) else (),
            columns=(_DOMAIN, *_columns(policies)),
            rows=tuple((name(p["domain"]), *_row(p, policies)) for p in policies),
            notes=tuple(
                Cell(printable(f"{p['domain']}: {format_source(p)}: {why}"), Style.BAD)
                for p in policies
                if (why := p["problem"])
            ),
        ),
    )


def build_own_policies(policies: Iterable[Policy]) -> Sheet:
    """List the policies of one domain."""
    listed = list(policies)
    return Sheet(
        columns=_columns(listed), rows=tuple(_row(policy, listed) for policy in listed)
    )


def build_preview(
    text: str, zone: str | None, changes: Sequence[PolicyChange], end: str
) -> tuple[Sheet, ...]:
    """List what a policy will request.

    Args:
        text: the policy.
        zone: its time zone; None: the host's.
        changes: the first is the level at the beginning.
        end: when the preview ends, ISO 8601.
    """
    ends = [*(change["at"] for change in changes[1:]), end]
    rows = tuple(
        (
            Cell(_format_time(change["at"])),
            Cell(_format_time(until)),
            Cell(format_level(change["level"])),
        )
        for change, until in zip(changes, ends, strict=True)
    )
    facts = (
        ("Policy", Cell(printable(text))),
        ("Time zone", Cell(zone or "of this host")),
    )
    return (Sheet(facts=facts, columns=_PREVIEW_COLUMNS, rows=rows),)


def format_level(level: str) -> str:
    """Write what a policy requests at a time."""
    return _LEVELS.get(level, level)


def _format_time(text: str) -> str:
    """Write a time in its own zone, in which the policy's times are written too."""
    return datetime.fromisoformat(text).strftime(_TIME)


def _columns(policies: Sequence[Policy]) -> tuple[Column, ...]:
    has_change = any(policy["next_change"] for policy in policies)
    return (*_COLUMNS, _CHANGE) if has_change else _COLUMNS


def _row(policy: Policy, policies: Sequence[Policy]) -> tuple[Cell, ...]:
    """Write one of these policies, with its next change if any of them has one."""
    change = policy["next_change"]
    if change is None:
        cell = NONE
    else:
        level = format_level(change["level"])
        cell = Cell(f"{level} from {_format_time(change['at'])}")
    return (*policy_fields(policy), cell)[: len(_columns(policies))]


def format_source(policy: Policy) -> str:
    """Write the source of a policy: `rule dpdk-*[0]`, `guest channel 1`."""
    source, name_of_policy = policy["source"], policy["name"]
    if policy["channel"] is not None:
        return f"{source} channel {policy['channel']}"
    if source == "operator" and name_of_policy == DEFAULT_NAME:
        return f"{source} ({name_of_policy})"
    return f"{source} {name_of_policy}".rstrip()


def _wants_of(policy: Policy) -> Iterator[str]:
    """Write what a policy wants: a frequency, and what it holds besides."""
    wants, latency_us, epp = policy["wants"], policy["idle_latency_us"], policy["epp"]
    is_holding = latency_us is not None or epp is not None
    if not is_holding or any(it["khz"] or not it["counts"] for it in wants):
        yield format_wants(wants)
    if latency_us is not None:
        yield f"idle latency {latency_us} us"
    if epp is not None:
        yield f"energy preference {epp}"


def format_wants(wants: Iterable[PolicyWant]) -> str:
    """Write what each vCPU should get: `0-2: 1.20 GHz, 3: overruled`."""
    by_text: dict[str, list[int]] = {}
    for want in wants:
        by_text.setdefault(_format_want(want), []).append(want["vcpu"])
    if len(by_text) == 1:
        return next(iter(by_text))
    return ", ".join(
        f"{format_cpulist(vcpus)}: {text}" for text, vcpus in by_text.items()
    )


def _format_want(want: PolicyWant) -> str:
    if not want["counts"]:
        return _OVERRULED
    return _NO_VOTE if want["khz"] is None else format_khz(want["khz"])


def policy_fields(policy: Policy) -> tuple[Cell, Cell, Cell, Cell]:
    """Write a policy: its source, its text, its vCPUs and what it wants."""
    vcpus = [want["vcpu"] for want in policy["wants"]]
    wants = ", ".join(filter(None, _wants_of(policy)))
    return (
        Cell(
            printable(format_source(policy)), _STYLES.get(policy["source"], Style.QUIET)
        ),
        Cell(printable(policy["text"])),
        Cell(format_cpulist(vcpus)) if vcpus else NONE,
        Cell(wants) if wants else NONE,
    )
