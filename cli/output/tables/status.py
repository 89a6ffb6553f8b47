"""The status: who, on which CPUs, at what clock, asked how often."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cli.output.tables.channels import channel_state
from cli.output.tables.policies import format_source
from cli.output.tables.sheet import Cell, Column, Look, Sheet
from cli.output.tables.vcpus import NO_VCPU, vcpu_fields
from cli.output.tables.words import (
    NONE,
    by_reason,
    count,
    duration,
    is_simulated,
    moment,
    name,
    plural,
)
from orchestrator.values.cpuset import format_cpulist
from orchestrator.values.safe_text import printable

if TYPE_CHECKING:
    from datetime import tzinfo

    from cli.output.tables.sheet import Field
    from orchestrator.control.documents import (
        Channel,
        Cpu,
        CpuList,
        Domain,
        LibvirtStatus,
        Status,
    )

COLUMNS = (
    Column(title="Domain", is_grouping=True),
    Column(title="State", rank=2, is_grouping=True),
    Column(title="vCPU", is_right=True),
    Column(title="CPUs"),
    Column(title="", rank=1, is_picture=True),
    Column(title="Clock", is_right=True),
    Column(title="Wish", rank=3, is_right=True),
    Column(title="Requests", is_right=True),
    Column(title="Refused", rank=4, is_right=True),
    Column(title="Channel"),
)
_NO_REQUESTS = (NONE, NONE, NONE)


def build_status(status: Status, zone: tzinfo | None) -> tuple[Sheet, ...]:
    """Show everything that matters on one page."""
    clocks = {cpu["pcpu"]: cpu for cpu in status["cpus"]}
    shown = [domain for domain in status["domains"] if takes_part(domain)]
    rows = [row for domain in shown for row in _domain_rows(domain, clocks, status)]
    notes = [note for domain in shown for note in domain_notes(domain)]
    return (
        Sheet(
            facts=_facts(status, zone),
            columns=COLUMNS if rows else (),
            rows=tuple(rows),
            notes=(*notes, *_cpu_notes(status), *_others(status, shown)),
        ),
    )


def _facts(status: Status, zone: tzinfo | None) -> tuple[tuple[str, Cell], ...]:
    daemon = status["daemon"]
    words = f"vmpowerd {daemon['version']}, {daemon['mode']}, pid {daemon['pid']}, "
    words += f"up {duration(daemon['uptime_s'])}"
    if daemon["monitor_pid"] is None:
        words += ", monitor is being started"
    look = Look.BAD if daemon["monitor_pid"] is None else Look.PLAIN
    problems = (("Problem", Cell(p, Look.BAD)) for p in daemon["problems"])
    return (
        ("Daemon", Cell(words, look)),
        ("libvirt", _libvirt(status["libvirt"], zone)),
        ("CPUs", _cpus(status)),
        *problems,
    )


def _libvirt(libvirt: LibvirtStatus, zone: tzinfo | None) -> Cell:
    words = libvirt["uri"]
    if libvirt["connected"]:
        again = libvirt["reconnects_total"]
        times = f" ({plural(again, 'reconnect')})" if again else ""
        return Cell(f"{words}, connected{times}")
    words += f", not connected: {printable(libvirt['reason'] or 'unknown reason')}"
    if libvirt["stale_since"]:
        words += f"; domains as known since {moment(libvirt['stale_since'], zone)}"
    return Cell(words, Look.BAD)


def _cpus(status: Status) -> Cell:
    words = cpu_summary(status["cpus"])
    if is_simulated(status["cpus"]):
        return Cell(f"{words}, simulated", Look.NOTABLE)
    return Cell(words)


def cpu_summary(cpus: list[Cpu]) -> str:
    """Count CPUs and clock groups."""
    groups = {cpu["clock_group"] for cpu in cpus}
    claimed = {cpu["clock_group"] for cpu in cpus if cpu["claimed"]}
    words = f"{len(cpus)} in {plural(len(groups), 'clock group')}, "
    words += f"{len(claimed)} claimed"
    fixed = {c["clock_group"] for c in cpus if c["override_khz"] is not None}
    return words + (f", {len(fixed)} overridden" if fixed else "")


def _domain_rows(
    domain: Domain, clocks: dict[int, Cpu], status: Status
) -> list[tuple[Field, ...]]:
    who: tuple[Field, ...] = (name(domain["name"]), _state(domain, status))
    channels = {channel["number"]: channel for channel in domain["channels"]}
    rows: list[tuple[Field, ...]] = []
    for vcpu in domain["vcpus"]:
        channel = channels.pop(vcpu["vcpu"], None)
        asked = _requests(channel) if channel else _NO_REQUESTS
        rows.append((*who, *vcpu_fields(vcpu, clocks), *asked))
    if not domain["vcpus"]:  # it is off: its channels say nothing one by one
        return [(*who, *NO_VCPU, *_NO_REQUESTS)]
    # A channel may have a number that no vCPU has; it can still ask.
    rows += [
        (*who, *NO_VCPU, *_stray_requests(channel)) for channel in channels.values()
    ]
    return rows


def _state(domain: Domain, status: Status) -> Cell:
    words, look = domain["state"], Look.PLAIN
    if domain["state"] != "running":
        look = Look.QUIET
    if domain["mode"] != status["daemon"]["mode"]:
        words, look = f"{words}, {domain['mode']}", Look.NOTABLE
    return Cell(words, look)


def _requests(channel: Channel) -> tuple[Cell, Cell, Cell]:
    refused = count(channel["nacks_total"], Look.BAD)
    return (count(channel["requests_total"]), refused, channel_state(channel))


def _stray_requests(channel: Channel) -> tuple[Cell, Cell, Cell]:
    requests, refused, state = _requests(channel)
    return (requests, refused, Cell(f"{channel['number']}: {state.text}", state.look))


def status_notes(status: Status) -> list[Cell]:
    """Say of the whole host what is not as one may expect, the worst first."""
    notes = [Cell(p, Look.BAD) for p in status["daemon"]["problems"]]
    if not status["libvirt"]["connected"]:
        why = printable(status["libvirt"]["reason"] or "unknown reason")
        notes.append(Cell(f"libvirt is not connected: {why}", Look.BAD))
    for domain in status["domains"]:
        notes += domain_notes(domain) if takes_part(domain) else []
    return notes + _cpu_notes(status)


def takes_part(domain: Domain) -> bool:
    """Tell whether a domain's clocks may be set: it has channels or policies."""
    return bool(domain["channels"] or domain["policies"])


def domain_notes(domain: Domain) -> list[Cell]:
    """Say of which domain what is not as one may expect."""
    who = printable(domain["name"])
    return [Cell(f"{who}: {words}", Look.NOTABLE) for words in domain_words(domain)]


def domain_words(domain: Domain) -> list[str]:
    """Say what of a domain is not as one may expect, and why."""
    found = [
        f"vCPU {vcpu['vcpu']} is not controllable: {vcpu['reason']}"
        for vcpu in domain["vcpus"]
        if vcpu["reason"]
    ]
    found += [
        f"channel {channel['number']} is {channel['state']}: {channel['reason']}"
        for channel in domain["channels"]
        if channel["reason"]
    ]
    found += [
        f"policy of {format_source(policy)}: {policy['problem']}"
        for policy in domain["policies"]
        if policy["problem"]
    ]
    found += [domain["reason"]] if domain["reason"] else []
    found += domain["problems"]
    return [printable(words) for words in found]


def _cpu_notes(status: Status) -> list[Cell]:
    words = cpu_words(status["cpus"])
    return [*(Cell(w, Look.NOTABLE) for w in words), *unmanaged_notes(status)]


def cpu_words(cpus: list[Cpu]) -> list[str]:
    """Say of which CPUs what is not as one may expect."""
    why = by_reason((cpu["pcpu"], cpu["reason"]) for cpu in cpus)
    return [*(f"CPU {some}: {reason}" for some, reason in why), *_override_notes(cpus)]


def _override_notes(cpus: list[Cpu]) -> list[str]:
    fixed = [cpu for cpu in cpus if cpu["override_khz"] is not None]
    if not fixed:
        return []
    numbers = format_cpulist(cpu["pcpu"] for cpu in fixed)
    return [f"CPU {numbers}: overridden until 'vmpower cpu release {numbers}'"]


def unmanaged_notes(document: Status | CpuList) -> list[Cell]:
    """Say which CPUs are left alone, and why."""
    alone = ((cpu["pcpu"], cpu["reason"]) for cpu in document["unmanaged_cpus"])
    return [Cell(f"CPU {cpus} is left alone: {why}") for cpus, why in by_reason(alone)]


def _others(status: Status, shown: list[Domain]) -> list[Cell]:
    others = len(status["domains"]) - len(shown)
    if not others:
        return []
    who = f"{plural(others, 'domain')} without channels or policies"
    words = f"{who}: see 'vmpower domain list'"
    return [Cell(words, Look.QUIET)]
