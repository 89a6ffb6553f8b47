# SPDX-License-Identifier: Apache-2.0
"""Columns of a vCPU: its CPUs, frequency, request, bounds, and source set them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cli.output.tables.cells import (
    NONE,
    current_frequency,
    format_range,
    frequency_bar,
    step,
    step_name,
)
from cli.output.tables.sheet import Bar, Cell, Style
from orchestrator.values.cpuset import format_cpulist
from orchestrator.values.safe_text import printable
from orchestrator.values.units import format_khz

if TYPE_CHECKING:
    from collections.abc import Iterable

    from cli.output.tables.sheet import Field
    from orchestrator.control.documents import Cpu, Domain, Policy, PolicyWant, Vcpu

_NO_FREQUENCY: tuple[Field, ...] = (Bar(None), NONE, NONE)
NO_VCPU: tuple[Field, ...] = (NONE, NONE, *_NO_FREQUENCY)
"""The fields of a row without a vCPU."""
_NO_REQUEST = Cell("vmpowerd (no request)", Style.QUIET)
"""The clock group is taken, and nothing requests a frequency: the highest step."""


def vcpu_fields(vcpu: Vcpu, cpu_by_number: dict[int, Cpu]) -> tuple[Field, ...]:
    """Show a vCPU: number, CPUs, frequency (bar and value), requested frequency."""
    where = (
        Cell(str(vcpu["vcpu"])),
        Cell(format_cpulist(vcpu["pcpus"])),
    )
    cpu = cpu_of(vcpu, cpu_by_number)
    if cpu is None:
        return (*where, *_NO_FREQUENCY)
    return (
        *where,
        frequency_bar(cpu),
        current_frequency(cpu),
        step(vcpu["requested_khz"], cpu),
    )


def cpu_of(vcpu: Vcpu, cpu_by_number: dict[int, Cpu]) -> Cpu | None:
    """Return a host CPU of the vCPU's clock group; None: it has none."""
    if not vcpu["controllable"] or not vcpu["pcpus"]:
        return None
    return cpu_by_number.get(vcpu["pcpus"][0])


def bounds(vcpu: Vcpu, cpu: Cpu | None) -> Cell:
    """Show the range of frequencies that it can have: `1.20-2.60 GHz`."""
    low, high = vcpu["min_khz"], vcpu["max_khz"]
    if low is None or high is None:
        return NONE
    highest = format_khz(high) if cpu is None else step_name(high, cpu)
    return Cell(highest if low == high else format_range(low, highest))


def limited_by(vcpu: Vcpu) -> Cell:
    """Show the sources of its bounds but the hardware: `min: metadata; max: host`."""
    # Absent from the documents of a daemon that was not restarted after an upgrade.
    sources = {"min": vcpu.get("min_source"), "max": vcpu.get("max_source")}
    found = [
        f"{end}: {printable(source)}"
        for end, source in sources.items()
        if source not in (None, "hardware")
    ]
    return Cell("; ".join(found)) if found else NONE


def set_by(domain: Domain, vcpu: Vcpu, cpu: Cpu | None) -> Cell:
    """Show what determines the frequency of a vCPU now."""
    if cpu is None:
        return NONE
    if cpu["override_khz"] is not None:
        return Cell("override", Style.NOTABLE)
    if not cpu["claimed"]:
        return Cell(f"governor {printable(cpu['governor'])}", Style.QUIET)
    wants = _counted_wants(domain["policies"], vcpu["vcpu"])
    requested_khz = vcpu["requested_khz"]
    names = [_short(policy) for policy, want in wants if want["khz"] == requested_khz]
    if requested_khz is None:
        return _NO_REQUEST
    if names:
        return Cell(", ".join(names))
    is_above = any(want["khz"] is not None for _, want in wants)
    return Cell("guest, above policy" if is_above else "guest")


def _counted_wants(
    policies: Iterable[Policy], vcpu: int
) -> list[tuple[Policy, PolicyWant]]:
    return [
        (policy, want)
        for policy in policies
        for want in policy["wants"]
        if want["vcpu"] == vcpu and want["counts"]
    ]


def _short(policy: Policy) -> str:
    """Name a policy by kind and source; the list of policies has the details."""
    number = policy["channel"]
    source = policy["source"] if number is None else f"{policy['source']} ch. {number}"
    return printable(f"{policy['kind']}, {source}")
