# SPDX-License-Identifier: Apache-2.0
"""Tables of host CPUs, by clock group."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cli.output.tables.cells import (
    NONE,
    current_frequency,
    frequency_bar,
    is_simulated,
    step,
    step_name,
)
from cli.output.tables.run_state import is_active
from cli.output.tables.sheet import Cell, Column, Sheet, Style
from cli.output.tables.status import boost_notes, unmanaged_notes
from orchestrator.values.cpuset import format_cpulist, name_cpus
from orchestrator.values.domain_settings import Mode
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
    Column(title="Frequency", is_right=True),
    Column(title="Grant", rank=1, is_right=True),
    Column(title="Override", is_right=True),
    Column(title="Min", rank=6, is_right=True),
    Column(title="Max", rank=5, is_right=True),
    Column(title="Governor", rank=2),
    Column(title="Driver", rank=4),
    Column(title="Used by"),
)


def build_cpus(document: CpuList, domains: Iterable[Domain]) -> tuple[Sheet, ...]:
    """List clock groups with their CPUs and the domains that use them."""
    users = _users(domains)
    rows = tuple(_row(group, users) for group in group_cpus(document["cpus"]))
    notes = [Cell(note, Style.NOTABLE) for note in boost_notes(document["cpus"])]
    notes += unmanaged_notes(document)
    if is_simulated(document["cpus"]):
        notes.append(Cell("these CPUs are simulated", Style.NOTABLE))
    return (Sheet(columns=_COLUMNS if rows else (), rows=rows, notes=tuple(notes)),)


def group_cpus(cpus: Iterable[Cpu]) -> list[list[Cpu]]:
    """Group CPUs by clock group, in the order of the groups."""
    groups: dict[int, list[Cpu]] = {}
    for cpu in cpus:
        groups.setdefault(cpu["clock_group"], []).append(cpu)
    return [groups[number] for number in sorted(groups)]


def _users(domains: Iterable[Domain]) -> dict[int, list[str]]:
    """Map each CPU to the active domains whose vCPUs and threads may run on it.

    A thread is named, as in `fw (emulator)`, where no vCPU of its domain is.
    """
    users: dict[int, list[str]] = {}
    for domain in filter(is_active, domains):
        name = printable(domain["name"])
        own = {p for vcpu in domain["vcpus"] for p in vcpu["pcpus"]}
        for pcpu in own:
            users.setdefault(pcpu, []).append(name)
        # Absent from the documents of a daemon that was not restarted after an upgrade.
        for thread in domain.get("threads", ()):
            for pcpu in set(thread["pcpus"]) - own:
                users.setdefault(pcpu, []).append(f"{name} ({thread['name']})")
    return users


def _row(group: list[Cpu], users: dict[int, list[str]]) -> tuple[Field, ...]:
    cpu = group[0]
    names = dict.fromkeys(n for each in group for n in users.get(each["pcpu"], ()))
    return (
        Cell(str(cpu["clock_group"]), Style.NAME),
        Cell(_list(group)),
        frequency_bar(cpu),
        current_frequency(cpu),
        step(cpu["grant_khz"], cpu),
        step(cpu["override_khz"], cpu, Style.NOTABLE),
        step(cpu["min_khz"], cpu, Style.QUIET),
        step(cpu["max_khz"], cpu, Style.QUIET),
        Cell(cpu["governor"]),
        driver(cpu),
        Cell(", ".join(names)) if names else NONE,
    )


def driver(cpu: Cpu) -> Cell:
    """Show the scaling driver, and whether the CPU is simulated."""
    if cpu["simulated"]:
        return Cell(f"{cpu['driver']}, simulated", Style.NOTABLE)
    return Cell(cpu["driver"])


def _mechanism(cpu: Cpu) -> list[tuple[str, Cell]]:
    """Show how the frequency of a group is set."""
    # Absent from the documents of a daemon that was not restarted after an upgrade.
    mechanism = cpu.get("mechanism")
    return [("Mechanism", Cell(printable(mechanism)))] if mechanism else []


def build_clock_group(group: list[Cpu], domains: Iterable[Domain]) -> Sheet:
    """Show all details of one clock group."""
    cpu, users = group[0], _users(domains)
    names = dict.fromkeys(n for each in group for n in users.get(each["pcpu"], ()))
    lowest, highest = (step_name(khz, cpu) for khz in (cpu["min_khz"], cpu["max_khz"]))
    facts = [
        ("Clock group", Cell(str(cpu["clock_group"]), Style.NAME)),
        ("CPUs", Cell(_list(group))),
        ("Used by", Cell(", ".join(names)) if names else NONE),
        ("Frequency", current_frequency(cpu)),
        ("Grant", _grant(cpu)),
        ("Override", step(cpu["override_khz"], cpu, Style.NOTABLE)),
        ("Bounds", Cell(f"{lowest} to {highest}")),
        ("Kernel limits", _kernel_limits(cpu)),
        ("Steps", Cell(", ".join(step_name(khz, cpu) for khz in cpu["steps_khz"]))),
        ("Governor", Cell(cpu["governor"])),
        *_energy_preference(cpu),
        ("Driver", driver(cpu)),
        *_mechanism(cpu),
        ("Taken by vmpower", Cell("yes" if cpu["claimed"] else "no")),
    ]
    facts += [*_idle_latencies(group), *_locations(group), *_coordinated(cpu)]
    facts += _followed(cpu)
    reasons = dict.fromkeys(each["reason"] for each in group if each["reason"])
    notes = [Cell(printable(reason), Style.NOTABLE) for reason in reasons]
    notes += [Cell(note, Style.NOTABLE) for note in boost_notes(group)]
    return Sheet(facts=tuple(facts), notes=tuple(notes))


def _kernel_limits(cpu: Cpu) -> Cell:
    """Show which of the kernel's limits vmpowerd has narrowed: `max 2.00 GHz`."""
    # Absent from the documents of a daemon that was not restarted after an upgrade.
    ends = (("min", cpu.get("held_min_khz")), ("max", cpu.get("held_max_khz")))
    held = [f"{end} {format_khz(khz)}" for end, khz in ends if khz is not None]
    return Cell(f"{', '.join(held)}, set by vmpowerd" if held else "unchanged")


def _energy_preference(cpu: Cpu) -> list[tuple[str, Cell]]:
    """Show the energy preference of a group, if the daemon holds one."""
    # Absent from the documents of a daemon that was not restarted after an upgrade.
    preference = cpu.get("epp")
    return [("Energy preference", Cell(printable(preference)))] if preference else []


def _idle_latencies(group: list[Cpu]) -> list[tuple[str, Cell]]:
    """Show the limits of idle latencies in a group, if the daemon holds any."""
    limits: dict[int, list[int]] = {}
    for cpu in group:
        if (latency_us := cpu.get("idle_latency_us")) is not None:
            limits.setdefault(latency_us, []).append(cpu["pcpu"])
    return [
        ("Idle latency", Cell(f"at most {us} us ({name_cpus(pcpus)})"))
        for us, pcpus in sorted(limits.items())
    ]


def _locations(group: list[Cpu]) -> list[tuple[str, Cell]]:
    """Show the socket and the NUMA node of a group, as far as they are known."""
    sockets = {cpu["package"] for cpu in group}
    nodes = {cpu["node"] for cpu in group}
    places = (("Socket", sockets), ("NUMA node", nodes))
    known = ((label, {n for n in found if n is not None}) for label, found in places)
    return [(label, Cell(format_cpulist(found))) for label, found in known if found]


def _coordinated(cpu: Cpu) -> list[tuple[str, Cell]]:
    """Show the CPUs of other groups that the hardware coordinates with a group."""
    # Absent from the documents of a daemon that was not restarted after an upgrade.
    pcpus = cpu.get("coordinated_cpus")
    return [("Coordinated with", Cell(name_cpus(pcpus)))] if pcpus else []


def _followed(cpu: Cpu) -> list[tuple[str, Cell]]:
    """Show the domains that a group follows, and why: `fw (emulator)`."""
    # Absent from the documents of a daemon that was not restarted after an upgrade.
    texts = [
        printable(f"{it['domain']} ({', '.join(it['threads'])})")
        for it in cpu.get("follows", ())
    ]
    return [("Follows", Cell(", ".join(texts)))] if texts else []


def _grant(cpu: Cpu) -> Cell:
    """Show the grant of a group, and the domains whose vCPUs decide it elsewhere."""
    followed = [it["domain"] for it in cpu.get("follows", ()) if it["decides"]]
    cell = step(cpu["grant_khz"], cpu)
    if not followed:
        return cell
    return Cell(f"{cell.text}, follows {printable(', '.join(followed))}", cell.style)


def describe_release(group: list[Cpu], domains: Iterable[Domain]) -> str:
    """Describe in one line what the release of a clock group did."""
    name, number = name_group(group), group[0]["clock_group"]
    if not group[0]["claimed"]:
        return f"{name}: released to governor {group[0]['governor']}"
    followed = {it["domain"] for it in group[0].get("follows", ())}
    votes = [
        f"{printable(domain['name'])} vCPU {vcpu['vcpu']}"
        f" ({step_name(vcpu['requested_khz'], group[0])})"
        for domain in domains
        if domain["mode"] == Mode.ENFORCE
        for vcpu in domain["vcpus"]
        if vcpu["requested_khz"] is not None
        and (vcpu["clock_group"] == number or domain["name"] in followed)
    ]
    if not votes:
        return f"{name}: released, its governor is being restored"
    return f"{name}: released to the votes of {', '.join(votes)}"


def describe_override(group: list[Cpu], requested_khz: int) -> str:
    """Describe in one line what an override did to a clock group."""
    khz, rounded = group[0]["override_khz"], ""
    if khz != requested_khz:
        rounded = f" (requested: {step_name(requested_khz, group[0])})"
    fixed = "-" if khz is None else step_name(khz, group[0])
    return f"{name_group(group)}: fixed at {fixed}{rounded} until released"


def name_group(group: list[Cpu]) -> str:
    """Name a clock group and its CPUs."""
    cpu = group[0]
    cpus = name_cpus(each["pcpu"] for each in group)
    simulated = ", simulated" if cpu["simulated"] else ""
    return f"clock group {cpu['clock_group']} ({cpus}{simulated})"


def _list(group: list[Cpu]) -> str:
    return format_cpulist(cpu["pcpu"] for cpu in group)
