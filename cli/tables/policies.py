"""Lists of policies."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cli.tables.sheet import Cell, Column, Look, Sheet
from cli.tables.status import is_simulated
from cli.tables.words import NONE, name, printable
from orchestrator.cpuset import format_cpulist
from orchestrator.units import format_khz

if TYPE_CHECKING:
    from collections.abc import Iterable

    from cli.tables.sheet import Field
    from orchestrator.control.documents import Cpu, Policy, PolicyList, PolicyWant

_DOMAIN = Column(title="Domain", is_grouping=True)
_COLUMNS = (
    Column(title="By"),
    Column(title="Policy"),
    Column(title="vCPUs", rank=2),
    Column(title="Wants", rank=1),
)
_LOOKS = {"operator": Look.NOTABLE, "guest": Look.PLAIN}
_UNKNOWING = "no say"


def build_policies(document: PolicyList, cpus: list[Cpu]) -> tuple[Sheet, ...]:
    """List policies of many domains, for the clocks of these CPUs."""
    policies = document["policies"]
    simulated = ("Clocks", Cell("simulated", Look.NOTABLE))
    return (
        Sheet(
            facts=(simulated,) if is_simulated(cpus) else (),
            columns=(_DOMAIN, *_COLUMNS),
            rows=tuple((name(p["domain"]), *_fields(p)) for p in policies),
            notes=tuple(
                Cell(printable(f"{p['domain']}: {tell_source(p)}: {why}"), Look.BAD)
                for p in policies
                if (why := p["problem"])
            ),
        ),
    )


def build_own_policies(policies: Iterable[Policy]) -> Sheet:
    """List the policies of one domain."""
    own = tuple(policies)
    return Sheet(
        columns=_COLUMNS,
        rows=tuple(_fields(policy) for policy in own),
        notes=tuple(
            Cell(printable(f"{tell_source(p)}: {why}"), Look.BAD)
            for p in own
            if (why := p["problem"])
        ),
    )


def tell_source(policy: Policy) -> str:
    """Say whose a policy is: `rule dpdk-*[0]`, `guest channel 1`."""
    if policy["channel"] is not None:
        return f"{policy['source']} channel {policy['channel']}"
    return f"{policy['source']} {policy['name']}".rstrip()


def tell_wants(wants: Iterable[PolicyWant]) -> str:
    """Say what each vCPU should get: `0-2 at 1.2 GHz, 3 at 3 GHz`."""
    by_khz: dict[int | None, list[int]] = {}
    for want in wants:
        by_khz.setdefault(want["khz"], []).append(want["vcpu"])
    if len(by_khz) == 1:
        return _tell_clock(next(iter(by_khz)))
    parts = (
        f"{format_cpulist(vcpus)}: {_tell_clock(khz)}" for khz, vcpus in by_khz.items()
    )
    return ", ".join(parts)


def _tell_clock(khz: int | None) -> str:
    return _UNKNOWING if khz is None else format_khz(khz)


def _fields(policy: Policy) -> tuple[Field, ...]:
    vcpus = [want["vcpu"] for want in policy["wants"]]
    wants = tell_wants(policy["wants"])
    return (
        Cell(printable(tell_source(policy)), _LOOKS.get(policy["source"], Look.QUIET)),
        Cell(printable(policy["text"])),
        Cell(format_cpulist(vcpus)) if vcpus else NONE,
        Cell(wants) if wants else NONE,
    )
