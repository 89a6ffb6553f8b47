# SPDX-License-Identifier: Apache-2.0
"""Tables of policies."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cli.output.tables.cells import NONE, is_simulated, name
from cli.output.tables.sheet import Cell, Column, Sheet, Style
from orchestrator.values.cpuset import format_cpulist
from orchestrator.values.safe_text import printable
from orchestrator.values.units import format_khz

if TYPE_CHECKING:
    from collections.abc import Iterable

    from orchestrator.control.documents import Cpu, Policy, PolicyList, PolicyWant

DEFAULT_NAME = "default"
"""Name of a policy of 'policy set' that was given none."""
_DOMAIN = Column(title="Domain", is_grouping=True)
_COLUMNS = (
    Column(title="Source"),
    Column(title="Policy"),
    Column(title="vCPUs", rank=2),
    Column(title="Wants", rank=1),
)
_STYLES = {"operator": Style.NOTABLE, "guest": Style.PLAIN}
_NO_VOTE = "no preference"
_OVERRULED = "overruled"
"""A policy of a source with higher precedence counts."""


def build_policies(document: PolicyList, cpus: list[Cpu]) -> tuple[Sheet, ...]:
    """List policies of many domains, for the frequencies of these CPUs."""
    policies = document["policies"]
    simulated = ("CPUs", Cell("simulated", Style.NOTABLE))
    return (
        Sheet(
            facts=(simulated,) if is_simulated(cpus) else (),
            columns=(_DOMAIN, *_COLUMNS),
            rows=tuple((name(p["domain"]), *policy_fields(p)) for p in policies),
            notes=tuple(
                Cell(printable(f"{p['domain']}: {format_source(p)}: {why}"), Style.BAD)
                for p in policies
                if (why := p["problem"])
            ),
        ),
    )


def build_own_policies(policies: Iterable[Policy]) -> Sheet:
    """List the policies of one domain."""
    return Sheet(
        columns=_COLUMNS, rows=tuple(policy_fields(policy) for policy in policies)
    )


def format_source(policy: Policy) -> str:
    """Write the source of a policy: `rule dpdk-*[0]`, `guest channel 1`."""
    source, name_of_policy = policy["source"], policy["name"]
    if policy["channel"] is not None:
        return f"{source} channel {policy['channel']}"
    if source == "operator" and name_of_policy == DEFAULT_NAME:
        return f"{source} ({name_of_policy})"
    return f"{source} {name_of_policy}".rstrip()


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
    wants = format_wants(policy["wants"])
    return (
        Cell(
            printable(format_source(policy)), _STYLES.get(policy["source"], Style.QUIET)
        ),
        Cell(printable(policy["text"])),
        Cell(format_cpulist(vcpus)) if vcpus else NONE,
        Cell(wants) if wants else NONE,
    )
