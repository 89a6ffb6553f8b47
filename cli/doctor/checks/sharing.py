"""Clocks that several parties share, so that none gets what it asks for."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cli.doctor.examination import check
from cli.doctor.facts.cpus import Cpus
from cli.doctor.facts.daemon import Configuration
from cli.doctor.facts.domains import Domains
from cli.doctor.finding import info, warning
from orchestrator.values.cpuset import format_cpulist

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from cli.doctor.finding import Finding

_SEVERAL = 2


@check(Domains, Cpus)
def clock_shared_by_domains(domains: Domains, cpus: Cpus) -> Iterator[Finding]:
    """Domains in one clock group: the one that wants most decides."""
    tenants = _tenants(domains)
    asking = {domain.name for domain in domains.taking_part()}
    for group in cpus.topology.groups:
        names = tenants.get(group.number, {}).keys()
        if len(names) < _SEVERAL or not names & asking:
            continue
        subject = f"CPU {format_cpulist(group.pcpus)}"
        words = ", ".join(sorted(names))
        if silent := sorted(names - asking):
            yield warning(
                subject,
                f"never slowed: one clock, shared by {words}, and {silent[0]} has no"
                " channel to ask with, which counts as wanting the highest",
                f"vmpower domain onboard {silent[0]}, or pin it elsewhere",
            )
        else:
            yield info(
                subject,
                f"one clock, shared by {words}: it follows the one that wants most",
                "pin them into different clock groups: 'vmpower cpu list' shows them",
            )


@check(Domains, Cpus, Configuration)
def clock_shared_with_host(
    domains: Domains, cpus: Cpus, configuration: Configuration
) -> Iterator[Finding]:
    """A guest's clock that is never slowed for the host's sake."""
    if configuration.config.power.share_with_host:
        return
    tenants = _tenants(domains)
    asking = {domain.name for domain in domains.taking_part()}
    for group in cpus.topology.groups:
        names = tenants.get(group.number, {})
        rest = frozenset[int](group.pcpus).difference(*names.values())
        if names.keys() & asking and rest:
            yield warning(
                f"CPU {format_cpulist(group.pcpus)}",
                f"never slowed for {', '.join(sorted(names.keys() & asking))}: CPU"
                f" {format_cpulist(rest)} of this clock group has no vCPU pinned to it"
                " and may run the host's own work",
                "pin a vCPU there too, or set power.share_with_host = true",
            )


@check(Domains, Cpus)
def core_shared_by_domains(domains: Domains, cpus: Cpus) -> Iterator[Finding]:
    """Two threads of one core in different clock groups, with different domains."""
    owners: dict[int, set[str]] = {}
    cores = {int(cpu.pcpu): int(cpu.core) for cpu in cpus.hosts}
    groups: dict[int, set[int]] = {}
    for domain in domains.taking_part():
        for vcpu in domain.vcpus:
            for pcpu in vcpu.pcpus if vcpu.group is not None else ():
                core = cores.get(pcpu, pcpu)
                owners.setdefault(core, set()).add(domain.name)
                groups.setdefault(core, set()).add(vcpu.group or 0)
    for core, names in owners.items():
        if len(names) > 1 and len(groups[core]) > 1:
            threads = format_cpulist(n for n, c in cores.items() if c == core)
            yield warning(
                f"CPU {threads}",
                f"threads of one core, used by {', '.join(sorted(names))}: the hardware"
                " runs both at the higher clock",
                "give each core to one domain",
            )


def _tenants(domains: Domains) -> Mapping[int, dict[str, frozenset[int]]]:
    """Collect the domains that run, with their CPUs, by clock group."""
    found: dict[int, dict[str, frozenset[int]]] = {}
    for domain in domains.active():
        for vcpu in domain.vcpus:
            if vcpu.group is not None:
                names = found.setdefault(vcpu.group, {})
                names[domain.name] = names.get(domain.name, frozenset()) | vcpu.pcpus
    return found
