"""One vCPU in words: where it runs, how fast, within what bounds, by whose word."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cli.output.tables.sheet import Bar, Cell, Look
from cli.output.tables.words import (
    NONE,
    clock,
    clock_bar,
    clock_of,
    step_name,
)
from orchestrator.values.cpuset import format_cpulist
from orchestrator.values.safe_text import printable
from orchestrator.values.units import format_khz

if TYPE_CHECKING:
    from collections.abc import Iterable

    from cli.output.tables.sheet import Field
    from orchestrator.control.documents import Cpu, Domain, Policy, PolicyWant, Vcpu

_NO_CLOCK: tuple[Field, ...] = (Bar(None), NONE, NONE)
NO_VCPU: tuple[Field, ...] = (NONE, NONE, *_NO_CLOCK)
"""What `vcpu_fields` says of none."""
_FREE = Cell("nobody", Look.QUIET)


def vcpu_fields(vcpu: Vcpu, clocks: dict[int, Cpu]) -> tuple[Field, ...]:
    """Show a vCPU: number, CPUs, the clock drawn and written, and its wish."""
    where = (
        Cell(str(vcpu["vcpu"])),
        Cell(format_cpulist(vcpu["pcpus"])),
    )
    cpu = cpu_of(vcpu, clocks)
    if cpu is None:
        return (*where, *_NO_CLOCK)
    return (*where, clock_bar(cpu), clock_of(cpu), clock(vcpu["wish_khz"]))


def cpu_of(vcpu: Vcpu, clocks: dict[int, Cpu]) -> Cpu | None:
    """Return a host CPU whose clock is the vCPU's; None: it floats."""
    if not vcpu["controllable"] or not vcpu["pcpus"]:
        return None
    return clocks.get(vcpu["pcpus"][0])


def bounds(vcpu: Vcpu, cpu: Cpu | None) -> Cell:
    """Write the lowest and the highest step that it may have: `1.20-2.60 GHz`."""
    low, high = vcpu["min_khz"], vcpu["max_khz"]
    if low is None or high is None:
        return NONE
    highest = format_khz(high) if cpu is None else step_name(high, cpu)
    if low == high:
        return Cell(highest)
    number, unit = format_khz(low).split()
    lowest = number if unit in highest else f"{number} {unit}"
    return Cell(f"{lowest}-{highest}")


def set_by(domain: Domain, vcpu: Vcpu, cpu: Cpu | None) -> Cell:
    """Say whose word its clock follows now."""
    if cpu is None:
        return NONE
    if cpu["override_khz"] is not None:
        return Cell("override", Look.NOTABLE)
    if not cpu["claimed"]:
        return Cell(f"governor {printable(cpu['governor'])}", Look.QUIET)
    wants = _heard(domain["policies"], vcpu["vcpu"])
    wish_khz = vcpu["wish_khz"]
    names = [_short(policy) for policy, want in wants if want["khz"] == wish_khz]
    if wish_khz is None:
        return _FREE
    if names:
        return Cell(", ".join(names))
    is_above = any(want["khz"] is not None for _, want in wants)
    return Cell("guest, above policy" if is_above else "guest")


def _heard(policies: Iterable[Policy], vcpu: int) -> list[tuple[Policy, PolicyWant]]:
    return [
        (policy, want)
        for policy in policies
        for want in policy["wants"]
        if want["vcpu"] == vcpu and want["counts"]
    ]


def _short(policy: Policy) -> str:
    """Name a policy and whose it is; the list of policies has the rest."""
    number = policy["channel"]
    who = policy["source"] if number is None else f"{policy['source']} ch. {number}"
    return printable(f"{policy['kind']}, {who}")
