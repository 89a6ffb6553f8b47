# SPDX-License-Identifier: Apache-2.0
"""Clock groups and cores that several domains, or domains and the host, share."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cli.doctor.diagnosis import check, info, warning
from cli.doctor.facts.cpus import Cpus
from cli.doctor.facts.daemon import Configuration
from cli.doctor.facts.domains import Domains
from orchestrator.values.cpuset import format_cpulist, name_cpus
from orchestrator.values.units import format_khz

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from cli.doctor.diagnosis import Finding
    from orchestrator.power.group import ClockGroup
    from orchestrator.power.topology import Topology
    from orchestrator.values.domain import PCpu

_SEVERAL = 2


@check(Domains, Cpus)
def clock_shared_by_domains(domains: Domains, cpus: Cpus) -> Iterator[Finding]:
    """Domains share a clock group: the highest request decides."""
    by_group = _domains_by_group(domains)
    requesting = {domain.name for domain in domains.managed()}
    for group in cpus.topology.groups:
        names = by_group.get(group.number, {}).keys()
        if len(names) < _SEVERAL or not names & requesting:
            continue
        subject = f"CPU {format_cpulist(group.pcpus)}"
        sharing = ", ".join(sorted(names))
        if silent := sorted(names - requesting):
            yield warning(
                subject,
                f"never slowed down: {sharing} share a clock group, and {silent[0]} has"
                " no channel, which counts as a request for the highest frequency",
                f"vmpower domain onboard {silent[0]}, or pin it to other CPUs",
            )
        else:
            yield info(
                subject,
                f"{sharing} share a clock group: it runs at the highest request",
                "pin them to clock groups of different cores; see 'vmpower cpu list'",
            )


@check(Domains, Cpus, Configuration)
def clock_shared_with_host(
    domains: Domains, cpus: Cpus, configuration: Configuration
) -> Iterator[Finding]:
    """A clock group is never slowed down because the host may use its CPUs."""
    if configuration.config.power.share_with_host:
        return
    by_group = _domains_by_group(domains)
    requesting = {domain.name for domain in domains.managed()}
    for group in cpus.topology.groups:
        names = by_group.get(group.number, {})
        rest = frozenset[int](group.pcpus).difference(*names.values())
        if names.keys() & requesting and rest:
            yield warning(
                f"CPU {format_cpulist(group.pcpus)}",
                f"never slowed down for {', '.join(sorted(names.keys() & requesting))}:"
                f" CPU {format_cpulist(rest)} of this clock group has no vCPU pinned to"
                " it and may run host tasks",
                "pin a vCPU there too, or set power.share_with_host = true",
            )


@check(Domains, Cpus)
def core_shared_by_domains(domains: Domains, cpus: Cpus) -> Iterator[Finding]:
    """Domains share a core whose threads are in different clock groups."""
    owners: dict[int, set[str]] = {}
    cores = {int(cpu.pcpu): int(cpu.core) for cpu in cpus.hosts}
    groups: dict[int, set[int]] = {}
    for domain in domains.managed():
        for vcpu in domain.vcpus:
            for pcpu in vcpu.pcpus if vcpu.groups else ():
                core = cores.get(pcpu, pcpu)
                owners.setdefault(core, set()).add(domain.name)
                groups.setdefault(core, set()).update(vcpu.groups)
    for core, names in owners.items():
        if len(names) > 1 and len(groups[core]) > 1:
            threads = format_cpulist(n for n, c in cores.items() if c == core)
            yield warning(
                f"CPU {threads}",
                f"threads of one core, used by {', '.join(sorted(names))}: the hardware"
                " runs both at the higher frequency",
                "give each core to one domain",
            )


@check(Domains, Cpus)
def coordinated_cpus_shared(domains: Domains, cpus: Cpus) -> Iterator[Finding]:
    """Domains use clock groups of several cores that the hardware coordinates."""
    by_group = _domains_by_group(domains)
    requesting = {domain.name for domain in domains.managed()}
    for pcpus, groups in _coordinated_groups(cpus.topology):
        names = {name for group in groups for name in by_group.get(group.number, ())}
        cores = {cpus.topology.locations[pcpu].core for pcpu in pcpus}
        if len(cores) > 1 and len(names) > 1 and names & requesting:
            yield warning(
                f"CPU {format_cpulist(pcpus)}",
                f"coordinated by the hardware, used by {', '.join(sorted(names))}: all"
                " run at the highest request",
                "pin them to CPUs that are not coordinated; see 'vmpower cpu show all'",
            )


@check(Domains, Cpus)
def coordinated_cpu_higher(domains: Domains, cpus: Cpus) -> Iterator[Finding]:
    """A CPU outside of vmpower keeps the frequency of coordinated CPUs up."""
    by_group = _domains_by_group(domains)
    requesting = {domain.name for domain in domains.managed()}
    used = {number for number, names in by_group.items() if names.keys() & requesting}
    for pcpus, groups in _coordinated_groups(cpus.topology):
        own = [group for group in groups if group.number in used]
        lowest_khz = min((group.steps.lowest_khz for group in own), default=0)
        holding = [
            policy
            for policy in cpus.policies
            if own
            and policy.number not in used
            and pcpus.intersection(policy.pcpus)
            and policy.floor_khz > lowest_khz
        ]
        if not holding:
            continue
        names = {name for group in own for name in by_group[group.number]}
        others = name_cpus(pcpu for policy in holding for pcpu in policy.pcpus)
        highest = max(holding, key=lambda policy: policy.floor_khz)
        yield warning(
            f"CPU {format_cpulist(pcpu for group in own for pcpu in group.pcpus)}",
            f"not slowed down below {format_khz(highest.floor_khz)} for"
            f" {', '.join(sorted(names & requesting))}: coordinated by the hardware"
            f" with {others} (governor {highest.governor})",
            f"use governor schedutil without a lower limit on {others}, or pin vCPUs"
            " with a channel to it",
        )


def _coordinated_groups(
    topology: Topology,
) -> Iterator[tuple[frozenset[PCpu], list[ClockGroup]]]:
    """Yield CPUs of several clock groups that the hardware coordinates."""
    for pcpus in sorted(set(topology.coordinated.values()), key=min):
        groups = [group for group in topology.groups if group.pcpus & pcpus]
        if any(pcpus - group.pcpus for group in groups):
            yield pcpus, groups


def _domains_by_group(domains: Domains) -> Mapping[int, dict[str, frozenset[int]]]:
    """Map clock groups to running domains and the CPUs that they use."""
    found: dict[int, dict[str, frozenset[int]]] = {}
    for domain in domains.active():
        for vcpu in domain.vcpus:
            for group in vcpu.groups:
                names = found.setdefault(group, {})
                names[domain.name] = names.get(domain.name, frozenset()) | vcpu.pcpus
    return found
