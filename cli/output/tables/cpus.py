"""Lists of CPUs, by the clocks that they share."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cli.output.tables.sheet import Cell, Column, Look, Sheet
from cli.output.tables.status import unmanaged_notes
from cli.output.tables.words import (
    NONE,
    clock,
    clock_bar,
    clock_of,
    is_simulated,
    step_name,
)
from orchestrator.values.cpuset import format_cpulist, name_cpus
from orchestrator.values.safe_text import printable
from orchestrator.values.units import format_khz

if TYPE_CHECKING:
    from collections.abc import Iterable

    from cli.output.tables.sheet import Field
    from orchestrator.control.documents import Cpu, CpuList, Domain

_COLUMNS = (
    Column(title="Group", is_right=True),
    Column(title="CPUs"),
    Column(title="", rank=3, is_picture=True),
    Column(title="Clock", is_right=True),
    Column(title="Grant", rank=1, is_right=True),
    Column(title="Override", is_right=True),
    Column(title="Min", rank=6, is_right=True),
    Column(title="Max", rank=5, is_right=True),
    Column(title="Governor", rank=2),
    Column(title="Driver", rank=4),
    Column(title="Used by"),
)


def build_cpus(document: CpuList, domains: Iterable[Domain]) -> tuple[Sheet, ...]:
    """List clock groups with their CPUs, and who runs there."""
    users = _users(domains)
    rows = tuple(_row(group, users) for group in group_cpus(document["cpus"]))
    notes = unmanaged_notes(document)
    if is_simulated(document["cpus"]):
        notes.append(Cell("these CPUs are simulated", Look.NOTABLE))
    return (Sheet(columns=_COLUMNS if rows else (), rows=rows, notes=tuple(notes)),)


def group_cpus(cpus: Iterable[Cpu]) -> list[list[Cpu]]:
    """Put CPUs that share a clock together, in the order of the groups."""
    groups: dict[int, list[Cpu]] = {}
    for cpu in cpus:
        groups.setdefault(cpu["clock_group"], []).append(cpu)
    return [groups[number] for number in sorted(groups)]


def _users(domains: Iterable[Domain]) -> dict[int, list[str]]:
    """Name the domains whose vCPUs may run on each CPU."""
    users: dict[int, list[str]] = {}
    for domain in domains:
        for pcpu in sorted({p for vcpu in domain["vcpus"] for p in vcpu["pcpus"]}):
            users.setdefault(pcpu, []).append(printable(domain["name"]))
    return users


def _row(group: list[Cpu], users: dict[int, list[str]]) -> tuple[Field, ...]:
    cpu = group[0]
    names = dict.fromkeys(n for each in group for n in users.get(each["pcpu"], ()))
    return (
        Cell(str(cpu["clock_group"]), Look.NAME),
        Cell(_list(group)),
        clock_bar(cpu),
        clock_of(cpu),
        clock(cpu["grant_khz"]),
        clock(cpu["override_khz"], Look.NOTABLE),
        clock(cpu["min_khz"], Look.QUIET),
        clock(cpu["max_khz"], Look.QUIET),
        Cell(cpu["governor"]),
        driver(cpu),
        Cell(", ".join(names)) if names else NONE,
    )


def driver(cpu: Cpu) -> Cell:
    """Name the scaling driver, and say if there is no CPU behind it."""
    if cpu["simulated"]:
        return Cell(f"{cpu['driver']}, simulated", Look.NOTABLE)
    return Cell(cpu["driver"])


def build_clock_group(group: list[Cpu], domains: Iterable[Domain]) -> Sheet:
    """Show everything about one clock group."""
    cpu, users = group[0], _users(domains)
    names = dict.fromkeys(n for each in group for n in users.get(each["pcpu"], ()))
    facts = [
        ("Clock group", Cell(str(cpu["clock_group"]), Look.NAME)),
        ("CPUs", Cell(_list(group))),
        ("Used by", Cell(", ".join(names)) if names else NONE),
        ("Clock", clock_of(cpu)),
        ("Grant", clock(cpu["grant_khz"])),
        ("Override", clock(cpu["override_khz"], Look.NOTABLE)),
        (
            "Bounds",
            Cell(f"{format_khz(cpu['min_khz'])} to {format_khz(cpu['max_khz'])}"),
        ),
        ("Steps", Cell(", ".join(step_name(khz, cpu) for khz in cpu["steps_khz"]))),
        ("Governor", Cell(cpu["governor"])),
        ("Driver", driver(cpu)),
        ("Claimed", Cell("yes" if cpu["claimed"] else "no")),
    ]
    facts += _seats(group)
    reasons = dict.fromkeys(each["reason"] for each in group if each["reason"])
    notes = tuple(Cell(printable(reason), Look.NOTABLE) for reason in reasons)
    return Sheet(facts=tuple(facts), notes=notes)


def _seats(group: list[Cpu]) -> list[tuple[str, Cell]]:
    """Say where the CPUs of a group sit, as far as the tree tells."""
    sockets = {cpu["package"] for cpu in group}
    nodes = {cpu["node"] for cpu in group}
    places = (("Socket", sockets), ("NUMA node", nodes))
    known = ((label, {n for n in found if n is not None}) for label, found in places)
    return [(label, Cell(format_cpulist(found))) for label, found in known if found]


def tell_clock(group: list[Cpu], asked_khz: int | None) -> str:
    """Say in one line what a change did to a clock group."""
    cpu = group[0]
    cpus = name_cpus(each["pcpu"] for each in group)
    simulated = ", simulated" if cpu["simulated"] else ""
    who = f"clock group {cpu['clock_group']} ({cpus}{simulated})"
    if asked_khz is None:
        return f"{who}: released"
    got = cpu["override_khz"]
    rounded = "" if got == asked_khz else f" (asked: {format_khz(asked_khz)})"
    return f"{who}: {format_khz(got)}{rounded} until it is released"


def _list(group: list[Cpu]) -> str:
    return format_cpulist(cpu["pcpu"] for cpu in group)
