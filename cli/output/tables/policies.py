"""Lists of policies."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cli.output.tables.cells import (
    NONE,
    is_simulated,
    name,
)
from cli.output.tables.sheet import Cell, Column, Sheet, Style
from orchestrator.values.cpuset import format_cpulist
from orchestrator.values.safe_text import printable
from orchestrator.values.units import format_khz

if TYPE_CHECKING:
    from collections.abc import Iterable

    from orchestrator.control.documents import Cpu, Policy, PolicyList, PolicyWant

_DOMAIN = Column(title="Domain", is_grouping=True)
_COLUMNS = (
    Column(title="By"),
    Column(title="Policy"),
    Column(title="vCPUs", rank=2),
    Column(title="Wants", rank=1),
)
_STYLES = {"operator": Style.NOTABLE, "guest": Style.PLAIN}
_UNKNOWING = "no say"
_OVERRULED = "overruled"
"""Somebody's policy stands above it."""


def build_policies(document: PolicyList, cpus: list[Cpu]) -> tuple[Sheet, ...]:
    """List policies of many domains, for the clocks of these CPUs."""
    policies = document["policies"]
    simulated = ("Clocks", Cell("simulated", Style.NOTABLE))
    return (
        Sheet(
            facts=(simulated,) if is_simulated(cpus) else (),
            columns=(_DOMAIN, *_COLUMNS),
            rows=tuple((name(p["domain"]), *policy_fields(p)) for p in policies),
            notes=tuple(
                Cell(printable(f"{p['domain']}: {tell_source(p)}: {why}"), Style.BAD)
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


def tell_source(policy: Policy) -> str:
    """Say whose a policy is: `rule dpdk-*[0]`, `guest channel 1`."""
    if policy["channel"] is not None:
        return f"{policy['source']} channel {policy['channel']}"
    return f"{policy['source']} {policy['name']}".rstrip()


def tell_wants(wants: Iterable[PolicyWant]) -> str:
    """Say what each vCPU should get: `0-2: 1.20 GHz, 3: overruled`."""
    by_words: dict[str, list[int]] = {}
    for want in wants:
        by_words.setdefault(_tell_want(want), []).append(want["vcpu"])
    if len(by_words) == 1:
        return next(iter(by_words))
    return ", ".join(f"{format_cpulist(who)}: {how}" for how, who in by_words.items())


def _tell_want(want: PolicyWant) -> str:
    if not want["counts"]:
        return _OVERRULED
    return _UNKNOWING if want["khz"] is None else format_khz(want["khz"])


def policy_fields(policy: Policy) -> tuple[Cell, Cell, Cell, Cell]:
    """Write a policy: by whom, what, for which vCPUs, and what it wants."""
    vcpus = [want["vcpu"] for want in policy["wants"]]
    wants = tell_wants(policy["wants"])
    return (
        Cell(
            printable(tell_source(policy)), _STYLES.get(policy["source"], Style.QUIET)
        ),
        Cell(printable(policy["text"])),
        Cell(format_cpulist(vcpus)) if vcpus else NONE,
        Cell(wants) if wants else NONE,
    )
