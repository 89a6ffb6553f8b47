# SPDX-License-Identifier: Apache-2.0
"""Tables of domains, and of one domain."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cli.output.tables.cells import NONE, count, is_simulated, name
from cli.output.tables.channels import build_own_channels
from cli.output.tables.energy import domain_fact
from cli.output.tables.policies import build_own_policies
from cli.output.tables.rights import build_settings
from cli.output.tables.run_state import describe_shut_off, is_active, order_domains
from cli.output.tables.sheet import Cell, Column, Sheet, Style
from cli.output.tables.status import cpu_warnings, domain_warnings
from cli.output.tables.vcpus import bounds, cpu_of, limited_by, set_by, vcpu_fields
from orchestrator.values.cpuset import name_all
from orchestrator.values.safe_text import printable

if TYPE_CHECKING:
    from cli.output.tables.sheet import Field
    from orchestrator.control.documents import Cpu, Domain, DomainList, Vcpu

_COLUMNS = (
    Column(title="Id"),
    Column(title="Name"),
    Column(title="State"),
    Column(title="Mode", rank=1),
    Column(title="vCPUs", rank=2, is_right=True),
    Column(title="Channels", is_right=True),
    Column(title="Open", is_right=True),
    Column(title="Requests", is_right=True),
    Column(title="UUID", rank=3),
)
_VCPU_COLUMNS = (
    Column(title="vCPU", is_right=True),
    Column(title="CPUs"),
    Column(title="", rank=1, is_picture=True),
    Column(title="Frequency", is_right=True),
    Column(title="Requested", is_right=True),
    Column(title="Bounds", is_right=True),
    Column(title="Limited by", rank=2),
    Column(title="Set by"),
)


def build_domains(
    document: DomainList, *, has_shut_off: bool = False
) -> tuple[Sheet, ...]:
    """List domains as `virsh list` does, or as `virsh list --all`."""
    shown = order_domains(document["domains"], has_shut_off=has_shut_off)
    hidden = len(document["domains"]) - len(shown)
    note = f"{describe_shut_off(hidden)}: see 'vmpower domain list --all'"
    return (
        Sheet(
            columns=_COLUMNS,
            rows=tuple(map(_row, shown)),
            notes=(Cell(note, Style.QUIET),) if hidden else (),
        ),
    )


def _row(domain: Domain) -> tuple[Field, ...]:
    opened = [c for c in domain["channels"] if c["state"] == "open"]
    return (
        _id(domain),
        name(domain["name"]),
        Cell(domain["state"], Style.PLAIN if is_active(domain) else Style.QUIET),
        Cell(domain["mode"]),
        count(len(domain["vcpus"])),
        count(len(domain["channels"])),
        count(len(opened), Style.GOOD),
        count(sum(c["requests_total"] for c in domain["channels"])),
        Cell(domain["uuid"], Style.QUIET),
    )


def build_domain(domain: Domain, cpus: list[Cpu]) -> tuple[Sheet, ...]:
    """Show one domain: settings, vCPUs, channels, policies and warnings."""
    cpu_by_number = {cpu["pcpu"]: cpu for cpu in cpus}
    facts = [
        ("Name", name(domain["name"])),
        ("UUID", Cell(domain["uuid"])),
        ("Id", _id(domain)),
        ("State", Cell(domain["state"])),
        ("Mode", Cell(domain["mode"])),
    ]
    # Absent from the documents of a daemon that was not restarted after an upgrade.
    if energy := domain.get("energy"):
        facts.append(("Energy", domain_fact(energy)))
    if is_simulated(cpus):
        facts.append(("CPUs", Cell("simulated", Style.NOTABLE)))
    if not is_active(domain):
        cpu_by_number = {}  # no CPU runs it
    rows = tuple(_vcpu_row(domain, vcpu, cpu_by_number) for vcpu in domain["vcpus"])
    sheets = [Sheet(facts=tuple(facts))]
    if domain["rights"]:
        sheets.append(build_settings(domain["rights"], domain["vcpus"]))
    if idle_states := _idle_states(domain):
        sheets.append(Sheet(facts=idle_states))
    sheets += [Sheet(columns=_VCPU_COLUMNS, rows=rows)] if rows else []
    if domain["channels"]:
        sheets.append(build_own_channels(domain["channels"]))
    if domain["policies"]:
        sheets.append(build_own_policies(domain["policies"]))
    warnings = [*domain_warnings(domain), *cpu_warnings(own_cpus(domain, cpus))]
    return (*sheets, Sheet(notes=tuple(Cell(w, Style.NOTABLE) for w in warnings)))


def _idle_states(domain: Domain) -> tuple[tuple[str, Cell], ...]:
    """Show which idle states the limits of idle latencies permit its CPUs."""
    vcpus: dict[str, list[int]] = {}
    for vcpu in domain["vcpus"]:
        # Absent from the documents of a daemon that was not restarted after an upgrade.
        states = vcpu.get("idle_states")
        if states is not None:
            vcpus.setdefault(printable(", ".join(states)), []).append(vcpu["vcpu"])
    return tuple(
        ("Idle states", Cell(f"{states} ({name_all('vCPU', numbers)})"))
        for states, numbers in vcpus.items()
    )


def own_cpus(domain: Domain, cpus: list[Cpu]) -> list[Cpu]:
    """Return the CPUs of the clock groups that its vCPUs are pinned to."""
    groups = {
        group
        for vcpu in domain["vcpus"]
        # Absent from the documents of a daemon that was not restarted after an upgrade.
        for group in (vcpu["clock_group"], *vcpu.get("clock_groups", ()))
    }
    return [cpu for cpu in cpus if cpu["clock_group"] in groups]


def _vcpu_row(
    domain: Domain, vcpu: Vcpu, cpu_by_number: dict[int, Cpu]
) -> tuple[Field, ...]:
    cpu = cpu_of(vcpu, cpu_by_number)
    fields = vcpu_fields(vcpu, cpu_by_number)
    return (*fields, bounds(vcpu, cpu), limited_by(vcpu), set_by(domain, vcpu, cpu))


def _id(domain: Domain) -> Cell:
    return Cell(str(domain["id"])) if is_active(domain) else NONE
