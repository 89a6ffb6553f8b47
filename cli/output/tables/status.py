# SPDX-License-Identifier: Apache-2.0
"""The status page: domains, their CPUs, frequencies, requests and warnings."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cli.output.tables.cells import (
    NONE,
    by_reason,
    count,
    format_duration,
    format_time,
    is_simulated,
    name,
    plural,
)
from cli.output.tables.channels import count_refused, is_p_states, state_cell
from cli.output.tables.energy import host_fact
from cli.output.tables.policies import format_source
from cli.output.tables.run_state import describe_shut_off, is_active, order_domains
from cli.output.tables.sheet import Cell, Column, Sheet, Style
from cli.output.tables.vcpus import NO_VCPU, vcpu_fields
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
    Column(title="Frequency", is_right=True),
    Column(title="Requested", rank=3, is_right=True),
    Column(title="Requests", is_right=True),
    Column(title="Refused", rank=4, is_right=True),
    Column(title="Channel"),
)
_NO_REQUESTS = (NONE, NONE, NONE)


def build_status(
    status: Status, zone: tzinfo | None, *, has_shut_off: bool = False
) -> tuple[Sheet, ...]:
    """Show the daemon, libvirt, CPUs and managed domains on one page.

    Args:
        status: the daemon's.
        zone: for times; None: the local one.
        has_shut_off: whether domains that are shut off have rows, too.
    """
    cpu_by_number = {cpu["pcpu"]: cpu for cpu in status["cpus"]}
    managed = [domain for domain in status["domains"] if is_managed(domain)]
    shown = order_domains(managed, has_shut_off=has_shut_off)
    rows = [
        row for domain in shown for row in _domain_rows(domain, cpu_by_number, status)
    ]
    listed = order_domains(managed, has_shut_off=True)
    notes = [note for domain in listed for note in domain_notes(domain)]
    hidden = len(managed) - len(shown)
    return (
        Sheet(
            facts=_facts(status, zone),
            columns=COLUMNS if rows else (),
            rows=tuple(rows),
            notes=(*notes, *_cpu_notes(status), *_others(status, managed, hidden)),
        ),
    )


def _facts(status: Status, zone: tzinfo | None) -> tuple[tuple[str, Cell], ...]:
    daemon = status["daemon"]
    text = f"vmpowerd {daemon['version']}, {daemon['mode']}, pid {daemon['pid']}, "
    text += f"up {format_duration(daemon['uptime_s'])}"
    if daemon["monitor_pid"] is None:
        text += ", monitor starting"
    style = Style.BAD if daemon["monitor_pid"] is None else Style.PLAIN
    # Absent from the documents of a daemon that was not restarted after an upgrade.
    host = status.get("energy")
    energy = (("Energy", host_fact(host)),) if host else ()
    problems = (("Problem", Cell(p, Style.BAD)) for p in daemon["problems"])
    return (
        ("Daemon", Cell(text, style)),
        ("libvirt", _libvirt(status["libvirt"], zone)),
        ("CPUs", _cpus(status)),
        *energy,
        *problems,
    )


def _libvirt(libvirt: LibvirtStatus, zone: tzinfo | None) -> Cell:
    text = libvirt["uri"]
    if libvirt["connected"]:
        again = libvirt["reconnects_total"]
        times = f" ({plural(again, 'reconnect')})" if again else ""
        return Cell(f"{text}, connected{times}")
    text += f", not connected: {printable(libvirt['reason'] or 'unknown reason')}"
    if libvirt["stale_since"]:
        text += f"; domains as of {format_time(libvirt['stale_since'], zone)}"
    return Cell(text, Style.BAD)


def _cpus(status: Status) -> Cell:
    text = cpu_summary(status["cpus"])
    if is_simulated(status["cpus"]):
        return Cell(f"{text}, simulated", Style.NOTABLE)
    return Cell(text)


def cpu_summary(cpus: list[Cpu]) -> str:
    """Summarize CPUs and clock groups: `6 in 3 clock groups, 1 taken`."""
    groups = {cpu["clock_group"] for cpu in cpus}
    taken = {cpu["clock_group"] for cpu in cpus if cpu["claimed"]}
    text = f"{len(cpus)} in {plural(len(groups), 'clock group')}, {len(taken)} taken"
    overridden = {c["clock_group"] for c in cpus if c["override_khz"] is not None}
    return text + (f", {len(overridden)} overridden" if overridden else "")


def _domain_rows(
    domain: Domain, cpu_by_number: dict[int, Cpu], status: Status
) -> list[tuple[Field, ...]]:
    prefix: tuple[Field, ...] = (name(domain["name"]), _state(domain, status))
    channels = {channel["number"]: channel for channel in domain["channels"]}
    rows: list[tuple[Field, ...]] = []
    if not is_active(domain):
        cpu_by_number = {}  # no CPU runs it
    for vcpu in domain["vcpus"]:
        channel = channels.pop(vcpu["vcpu"], None)
        requests = _requests(channel) if channel else _NO_REQUESTS
        rows.append((*prefix, *vcpu_fields(vcpu, cpu_by_number), *requests))
    if not domain["vcpus"]:  # shut off: one row, because its channels are all idle
        return [(*prefix, *NO_VCPU, *_NO_REQUESTS)]
    # A channel without a vCPU of its number can still send requests.
    rows += [
        (*prefix, *NO_VCPU, *_requests_without_vcpu(channel))
        for channel in channels.values()
    ]
    return rows


def _state(domain: Domain, status: Status) -> Cell:
    text, style = domain["state"], Style.PLAIN
    if domain["state"] != "running":
        style = Style.QUIET
    if domain["mode"] != status["daemon"]["mode"]:
        text, style = f"{text}, {domain['mode']}", Style.NOTABLE
    return Cell(text, style)


def _requests(channel: Channel) -> tuple[Cell, Cell, Cell]:
    refused = count(count_refused(channel), Style.BAD)
    return (count(channel["requests_total"]), refused, state_cell(channel))


def _requests_without_vcpu(channel: Channel) -> tuple[Cell, Cell, Cell]:
    requests, refused, state = _requests(channel)
    kind = f" ({channel['kind']})" if is_p_states(channel) else ""
    text = f"{channel['number']}{kind}: {state.text}"
    return (requests, refused, Cell(text, state.style))


def status_warnings(status: Status) -> list[Cell]:
    """List all warnings of the host, the most severe first."""
    notes = [Cell(p, Style.BAD) for p in status["daemon"]["problems"]]
    if not status["libvirt"]["connected"]:
        why = printable(status["libvirt"]["reason"] or "unknown reason")
        notes.append(Cell(f"libvirt is not connected: {why}", Style.BAD))
    for domain in order_domains(status["domains"], has_shut_off=True):
        notes += domain_notes(domain) if is_managed(domain) else []
    return notes + _cpu_notes(status)


def is_managed(domain: Domain) -> bool:
    """Return whether vmpower may set frequencies: channels, policies or limits."""
    return bool(domain["channels"] or domain["policies"]) or _is_limited(domain)


def _is_limited(domain: Domain) -> bool:
    """Return whether a domain has limits of its own."""
    rights = domain["rights"]
    if rights is None:
        return False
    has_bounds = any(rights[key]["value"] is not None for key in ("min_khz", "max_khz"))
    turbo = rights["turbo"]
    return has_bounds or not (turbo["value"] or turbo["source"] == "host")


def domain_notes(domain: Domain) -> list[Cell]:
    """List the warnings about a domain, prefixed with its name.

    While it is shut off, the state of its vCPUs and channels is none.
    """
    domain_name = printable(domain["name"])
    texts = _own_warnings(domain)
    if is_active(domain):
        texts = domain_warnings(domain)
    return [Cell(f"{domain_name}: {text}", Style.NOTABLE) for text in texts]


def domain_warnings(domain: Domain) -> list[str]:
    """List the warnings about a domain, its vCPUs and its channels."""
    reasons = by_reason((vcpu["vcpu"], vcpu["reason"]) for vcpu in domain["vcpus"])
    found = [
        f"vCPU {numbers} is not controllable: {reason}"
        if numbers.isdecimal()
        else f"vCPUs {numbers} are not controllable: {reason}"
        for numbers, reason in reasons
    ]
    found += [
        f"channel {channel['number']} is {channel['state']}: {channel['reason']}"
        for channel in domain["channels"]
        if channel["reason"]
    ]
    return [*map(printable, found), *_own_warnings(domain)]


def _own_warnings(domain: Domain) -> list[str]:
    """List the warnings about its policies and its description."""
    found = [
        f"policy of {format_source(policy)}: {policy['problem']}"
        for policy in domain["policies"]
        if policy["problem"]
    ]
    found += [domain["reason"]] if domain["reason"] else []
    found += domain["problems"]
    return [printable(text) for text in found]


def _cpu_notes(status: Status) -> list[Cell]:
    warnings = [*cpu_warnings(status["cpus"]), *_setting_warnings(status)]
    return [*(Cell(w, Style.NOTABLE) for w in warnings), *unmanaged_notes(status)]


def _setting_warnings(status: Status) -> list[str]:
    """List the settings of the kernel that are not as the daemon is to hold them."""
    texts = {
        "left": "changed by another program, and left",
        "absent": "not offered by the kernel here",
    }
    # Absent from the documents of a daemon that was not restarted after an upgrade.
    return [
        printable(f"{it['name']}: {it['problem'] or texts[it['outcome']]}")
        for it in status.get("kernel_settings", ())
        if it["problem"] or it["outcome"] in texts
    ]


def cpu_warnings(cpus: list[Cpu]) -> list[str]:
    """List the warnings about CPUs."""
    reasons = by_reason((cpu["pcpu"], cpu["reason"]) for cpu in cpus)
    found = [f"CPU {numbers}: {reason}" for numbers, reason in reasons]
    return [*found, *boost_notes(cpus), *_override_notes(cpus)]


def boost_notes(cpus: list[Cpu]) -> list[str]:
    """List the CPUs whose turbo is switched off in the kernel."""
    off: dict[str, list[int]] = {}
    for cpu in cpus:
        if not cpu.get("boost", True):
            # Absent from the documents of a daemon that was not restarted after an
            # upgrade.
            switch = cpu.get("turbo_switch") or "cpufreq/boost"
            off.setdefault(switch, []).append(cpu["pcpu"])
    return [
        f"CPU {format_cpulist(pcpus)}: turbo is off in the kernel ({switch})"
        for switch, pcpus in off.items()
    ]


def _override_notes(cpus: list[Cpu]) -> list[str]:
    fixed = [cpu for cpu in cpus if cpu["override_khz"] is not None]
    if not fixed:
        return []
    numbers = format_cpulist(cpu["pcpu"] for cpu in fixed)
    return [f"CPU {numbers}: overridden; release with 'vmpower cpu release {numbers}'"]


def unmanaged_notes(document: Status | CpuList) -> list[Cell]:
    """List the CPUs that vmpower does not manage, and why."""
    reasons = ((cpu["pcpu"], cpu["reason"]) for cpu in document["unmanaged_cpus"])
    return [
        Cell(f"CPU {cpus} not managed: {reason}") for cpus, reason in by_reason(reasons)
    ]


def _others(status: Status, managed: list[Domain], hidden: int) -> list[Cell]:
    """Count the domains that have no rows."""
    found = []
    if hidden:
        found.append(f"{describe_shut_off(hidden)}: see 'vmpower status --all'")
    others = len(status["domains"]) - len(managed)
    if others:
        count_text = f"{plural(others, 'domain')} without channels, policies or limits"
        found.append(f"{count_text}: see 'vmpower domain list --all'")
    return [Cell(text, Style.QUIET) for text in found]
