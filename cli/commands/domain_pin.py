# SPDX-License-Identifier: Apache-2.0
"""`vmpower domain pin`: pin a vCPU, with the user's own libvirt rights.

The daemon is not needed; libvirt notifies it of the new pinning.
Synchronization: none required, one command per process.
"""

# No postponed annotations: typer evaluates them when the command is built.

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cli.commands.arguments import (
    POWER_OFF_NOTE,
    Connect,
    DomainArgument,
    print_domain_json,
    uri_of,
)
from cli.completion import candidates
from cli.framework.failures import as_usage_error
from cli.framework.settings import Output, settings_of
from cli.output.echo import Hints, echo

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

    from orchestrator.hypervisor.lookup import FoundDomain
    from orchestrator.hypervisor.operator import OperatorConnection


def pin(  # noqa: PLR0913 - each parameter is an option of the command
    context: typer.Context,
    domain: DomainArgument,
    vcpu: Annotated[
        int,
        typer.Argument(
            min=0, help="Number of the vCPU.", autocompletion=candidates.vcpus
        ),
    ],
    cpus: Annotated[
        str,
        typer.Argument(
            metavar="CPU",
            help="Host CPUs: of one clock group, or threads of one core. Pinned to"
            " others, a vCPU floats, and its requests are refused.",
            autocompletion=candidates.cpus,
        ),
    ],
    *,
    live: Annotated[
        bool, typer.Option("--live", help="Change the running domain.")
    ] = False,
    config: Annotated[
        bool, typer.Option("--config", help="Change the domain's definition.")
    ] = False,
    sysfs_root: Annotated[
        Path, typer.Option("--sysfs-root", help="Root of the CPU tree.")
    ] = Path("/sys"),
    connect: Connect = "",
) -> None:
    """Pin a vCPU to a host CPU.

    Only then can its frequency requests be applied. By default, the running domain is
    changed, or the definition of a domain that is shut off.
    """
    from orchestrator.hypervisor.operator import OperatorConnection
    from orchestrator.values.cpuset import name_cpus, parse_cpulist
    from orchestrator.values.domain import VCpu

    with as_usage_error():
        pcpus = parse_cpulist(cpus)
    with OperatorConnection(uri_of(context, connect)) as connection:
        found = connection.find(domain)
        connection.pin(found.uuid, VCpu(vcpu), pcpus, live=live, config=config)
        neighbors = _find_neighbors(connection, found, vcpu, pcpus)
    is_json = settings_of(context).output is Output.JSON
    hints = Hints(is_json=is_json)
    if not is_json:
        echo(f"vCPU {vcpu} of domain '{found.name}' pinned to {name_cpus(pcpus)}")
        if found.is_active and config and not live:
            echo(POWER_OFF_NOTE)
    if reason := _why_floating(sysfs_root, pcpus):
        hints.add(f"requests of vCPU {vcpu} will be refused: {reason}")
    if neighbors:
        hints.add(f"{name_cpus(pcpus)} is shared with {', '.join(neighbors)}")
    if is_json:
        facts = {"vcpu": vcpu, "pcpus": sorted(pcpus), "hints": hints.texts}
        print_domain_json(found, facts)


def _find_neighbors(
    connection: "OperatorConnection",
    domain: "FoundDomain",
    vcpu: int,
    cpus: "Collection[int]",
) -> list[str]:
    """Name the other vCPUs on a host CPU: while they poll, each gets a part of it."""
    if len(cpus) != 1:
        return []
    (cpu,) = cpus
    users = connection.list_vcpus_on(cpu, domain.uuid)
    return [
        f"vCPU {number} of domain '{name}'"
        for name, number in sorted(users)
        if (name, number) != (domain.name, vcpu)
    ]


def _why_floating(sysfs_root: Path, pcpus: "Iterable[int]") -> str:
    """Return why a vCPU with this pinning floats; empty: it does not, or unknown."""
    from orchestrator.errors import SysfsError
    from orchestrator.power.sysfs import CpuTree
    from orchestrator.power.topology import read_topology
    from orchestrator.values.domain import PCpu
    from orchestrator.values.refusal import Refusal

    try:
        topology = read_topology(CpuTree(sysfs_root))
    except SysfsError:
        return ""
    found = topology.assign(frozenset(map(PCpu, pcpus)))
    return found.reason if found.refusal is Refusal.FLOATING else ""
