"""`domain pin`: libvirt, with the operator's own rights.

It needs no daemon, which hears of the new pinning by itself.
Synchronization: none required, one command per process.
"""

# No postponed annotations here: typer reads them when the command is built.

from typing import Annotated

import typer

from cli.commands.libvirt_options import POWER_OFF_NOTE, Connect, tell_json, uri_of
from cli.completion import words
from cli.framework.failures import usage
from cli.framework.settings import Output, settings_of
from cli.output.echo import say


def pin(  # noqa: PLR0913 - each parameter is an option of the command
    context: typer.Context,
    domain: Annotated[
        str,
        typer.Argument(help="Its id, UUID or name.", autocompletion=words.domains),
    ],
    vcpu: Annotated[
        int, typer.Argument(min=0, help="Its number.", autocompletion=words.vcpus)
    ],
    cpus: Annotated[
        str,
        typer.Argument(
            metavar="CPU",
            help="Host CPUs: on those of more than one clock group it floats, and"
            " its requests are refused.",
            autocompletion=words.cpus,
        ),
    ],
    *,
    live: Annotated[bool, typer.Option("--live", help="The running domain.")] = False,
    config: Annotated[bool, typer.Option("--config", help="Its definition.")] = False,
    connect: Connect = "",
) -> None:
    """Pin a vCPU to a host CPU, so that its requests can be obeyed.

    Without --live and --config: the running domain, or the definition of one that is
    off.
    """
    from orchestrator.hypervisor.operator import OperatorConnection
    from orchestrator.values.cpuset import format_cpulist, parse_cpulist
    from orchestrator.values.domain import VCpu

    with usage():
        wanted = parse_cpulist(cpus)
    with OperatorConnection(uri_of(context, connect)) as connection:
        found = connection.find(domain)
        connection.pin(found.uuid, VCpu(vcpu), wanted, live=live, config=config)
    if settings_of(context).output is Output.JSON:
        tell_json(found, {"vcpu": vcpu, "pcpus": sorted(wanted)})
        return
    say(f"vCPU {vcpu} of '{found.name}' is pinned to {format_cpulist(wanted)}")
    if found.is_active and config and not live:
        say(POWER_OFF_NOTE)
