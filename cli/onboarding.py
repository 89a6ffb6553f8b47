"""`domain add` and `domain pin`: libvirt, with the operator's own rights.

They need no daemon: it hears of the new domain and of the new pinning by itself.
Synchronization: none required, one command per process.
"""

# No postponed annotations here: typer reads them when the command is built.

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from cli.settings import Output, settings_of

if TYPE_CHECKING:
    from domain_templates import TemplateSpec
    from orchestrator.domain import PCpu
    from orchestrator.hypervisor.operator import FoundDomain

_DEFAULT_URI = "qemu:///system"
_POWER_OFF_NOTE = "Changes will take effect after the domain is fully powered off."
"""virsh's and virt-xml's words."""

Connect = Annotated[
    str,
    typer.Option("--connect", "-c", metavar="URI", help="libvirt, as virsh takes it."),
]


def add(  # noqa: PLR0913 - each parameter is an option of the command
    context: typer.Context,
    name: Annotated[str, typer.Argument(help="Name of the new domain.")],
    *,
    vcpus: Annotated[int, typer.Option(min=1, help="vCPUs; each gets a channel.")] = 1,
    memory: Annotated[int, typer.Option(min=1, metavar="MIB", help="Memory.")] = 256,
    kernel: Annotated[
        Path | None, typer.Option(help="Kernel to boot directly.")
    ] = None,
    initrd: Annotated[Path | None, typer.Option(help="Its initial RAM disk.")] = None,
    cmdline: Annotated[str, typer.Option(help="The kernel's command line.")] = "",
    pin: Annotated[
        str,
        typer.Option(
            metavar="CPUS", help="One host CPU for each vCPU, in order: 2-5,8."
        ),
    ] = "",
    kind: Annotated[
        Literal["kvm", "qemu"],
        typer.Option("--type", help="qemu runs everywhere, slowly."),
    ] = "kvm",
    socket_dir: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR",
            help="Sockets as DIR/NAME.N, as DPDK's host has them; default: libvirt's.",
        ),
    ] = None,
    console: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write the console there.")
    ] = None,
    define: Annotated[
        bool, typer.Option("--define", help="Define it instead of printing its XML.")
    ] = False,
    start: Annotated[
        bool, typer.Option("--start", help="Define it and start it.")
    ] = False,
    connect: Connect = "",
) -> None:
    """Print a domain with power management channels, or define it."""
    from domain_templates import DomainKind, TemplateSpec, build, validate

    spec = TemplateSpec(
        vcpus=vcpus,
        memory_mib=memory,
        kernel=_absolute(kernel),
        initrd=_absolute(initrd),
        cmdline=cmdline,
        pins=_parse_pins(pin),
        kind=DomainKind(kind),
        socket_dir=_absolute(socket_dir),
        console=_absolute(console),
    )
    xml = build(name, spec)
    validate(xml)
    if define or start:
        domain = _define(_uri_of(context, connect), xml, is_started=start)
        _tell_defined(context, domain, is_started=start)
    else:
        typer.echo(xml, nl=False)
    _warn(spec)


def pin(  # noqa: PLR0913 - each parameter is an option of the command
    context: typer.Context,
    domain: Annotated[str, typer.Argument(help="Its id, UUID or name.")],
    vcpu: Annotated[int, typer.Argument(min=0)],
    cpus: Annotated[
        str, typer.Argument(metavar="CPU", help="Host CPUs; more than one floats.")
    ],
    *,
    live: Annotated[bool, typer.Option("--live", help="The running domain.")] = False,
    config: Annotated[bool, typer.Option("--config", help="Its definition.")] = False,
    connect: Connect = "",
) -> None:
    """Pin a vCPU to a host CPU, so that its requests can be obeyed."""
    from orchestrator.cpuset import format_cpulist, parse_cpulist
    from orchestrator.domain import VCpu
    from orchestrator.hypervisor.operator import OperatorConnection

    wanted = parse_cpulist(cpus)
    with OperatorConnection(_uri_of(context, connect)) as connection:
        found = connection.find(domain)
        connection.pin(found.uuid, VCpu(vcpu), wanted, live=live, config=config)
    if settings_of(context).output is Output.JSON:
        _tell_json(found, {"vcpu": vcpu, "pcpus": sorted(wanted)})
        return
    typer.echo(f"vCPU {vcpu} of '{found.name}' is pinned to {format_cpulist(wanted)}")
    if found.is_active and config and not live:
        typer.echo(_POWER_OFF_NOTE)


def _define(uri: str, xml: str, *, is_started: bool) -> "FoundDomain":
    from orchestrator.errors import HypervisorError
    from orchestrator.hypervisor.operator import OperatorConnection

    with OperatorConnection(uri) as connection:
        found = connection.define(xml)
        if is_started:
            try:
                connection.start(found.uuid)
            except HypervisorError as error:
                error.hint = error.hint or f"'{found.name}' is defined, but off"
                raise
    return found


def _tell_defined(
    context: typer.Context, domain: "FoundDomain", *, is_started: bool
) -> None:
    if settings_of(context).output is Output.JSON:
        _tell_json(domain, {"started": is_started})
        return
    word = "defined and started" if is_started else "defined"
    typer.echo(f"Domain '{domain.name}' {word} ({domain.uuid})")


def _tell_json(domain: "FoundDomain", facts: dict[str, object]) -> None:
    import json

    typer.echo(
        json.dumps({"schema": 1, "uuid": domain.uuid, "name": domain.name} | facts)
    )


def _warn(spec: "TemplateSpec") -> None:
    if not spec.pins:
        typer.echo(
            "hint: its vCPUs float, so that their requests will be refused;"
            " give --pin, or use 'vmpower domain pin' later",
            err=True,
        )


def _parse_pins(text: str) -> "tuple[PCpu, ...]":
    from orchestrator.cpuset import parse_cpulist
    from orchestrator.domain import PCpu

    # Term by term, because 5,3 means that vCPU 0 is on CPU 5.
    terms = text.split(",") if text.strip() else []
    return tuple(PCpu(cpu) for term in terms for cpu in sorted(parse_cpulist(term)))


def _absolute(path: Path | None) -> Path | None:
    # libvirt's daemon has another working directory than the operator.
    return path and path.absolute()


def _uri_of(context: typer.Context, connect: str) -> str:
    """The option, then the option before the command, then libvirt's own variable."""
    uri = connect or settings_of(context).uri
    return uri or os.environ.get("LIBVIRT_DEFAULT_URI") or _DEFAULT_URI
