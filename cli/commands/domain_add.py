"""`domain add`: libvirt, with the operator's own rights.

It needs no daemon, which hears of the new domain by itself.
Synchronization: none required, one command per process.
"""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from cli.commands.libvirt_options import (
    Connect,
    absolute,
    parse_clock,
    parse_numbers,
    tell_json,
    uri_of,
)
from cli.completion import words
from cli.framework.settings import Output, settings_of
from cli.output.echo import say
from cli.output.progress import working

if TYPE_CHECKING:
    from cli.commands.pinning import Placement
    from domain_templates import Network, TemplateSpec
    from orchestrator.hypervisor.operator import FoundDomain
    from orchestrator.values.domain import PCpu
    from orchestrator.values.domain_settings import DomainSettings

_QCOW2 = b"QFI\xfb"


def add(  # noqa: PLR0913 - each parameter is an option of the command
    context: typer.Context,
    name: Annotated[str, typer.Argument(help="Name of the new domain.")],
    *,
    template: Annotated[
        str,
        typer.Option(
            "--template",
            "-t",
            metavar="NAME",
            help="What it starts from: see 'vmpower template list'; or ./FILE.xml.",
            autocompletion=words.templates,
        ),
    ] = "minimal",
    vcpus: Annotated[
        int | None, typer.Option(min=1, help="vCPUs; each gets a channel.")
    ] = None,
    memory: Annotated[
        int | None, typer.Option(min=1, metavar="MIB", help="Memory.")
    ] = None,
    disk: Annotated[
        str,
        typer.Option(metavar="PATH[,format=FORMAT]", help="Disk image or device."),
    ] = "",
    cloud_init: Annotated[
        Path | None,
        typer.Option(metavar="ISO", help="Settings for cloud-init, as an ISO image."),
    ] = None,
    network: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NETWORK",
            help="NAME, bridge:NAME, vhostuser:PATH, hostdev:PCI, user or none; again"
            " for each interface.",
        ),
    ] = None,
    kernel: Annotated[
        Path | None, typer.Option(help="Kernel to boot directly.")
    ] = None,
    initrd: Annotated[Path | None, typer.Option(help="Its initial RAM disk.")] = None,
    cmdline: Annotated[str, typer.Option(help="The kernel's command line.")] = "",
    pin: Annotated[
        str,
        typer.Option(
            metavar="CPUS",
            help="One host CPU for each vCPU, in order: 2-5,8; or none. Without it,"
            " CPUs are proposed.",
        ),
    ] = "",
    emulator_pin: Annotated[
        str, typer.Option(metavar="CPUS", help="Host CPUs for QEMU's own threads.")
    ] = "",
    numa_node: Annotated[
        int | None, typer.Option(min=0, help="Propose CPUs of this NUMA node.")
    ] = None,
    channels: Annotated[
        str, typer.Option(metavar="all|none|NUMBERS", help="Channels to have: 0,2.")
    ] = "all",
    low: Annotated[
        str, typer.Option("--min", metavar="CLOCK", help="Never lower: 1.2GHz.")
    ] = "",
    high: Annotated[
        str, typer.Option("--max", metavar="CLOCK", help="Never higher: 2.4GHz.")
    ] = "",
    turbo: Annotated[
        bool | None, typer.Option("--turbo/--no-turbo", help="May use the turbo step.")
    ] = None,
    mode: Annotated[
        Literal["enforce", "observe"] | None,
        typer.Option(help="Whether its requests change clocks."),
    ] = None,
    settings: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="A parameter of the template."),
    ] = None,
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
    print_xml: Annotated[
        bool, typer.Option("--print-xml", help="Print its XML and change nothing.")
    ] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Check everything and change nothing.")
    ] = False,
    yes: Annotated[
        bool, typer.Option("--yes", "-y", help="Agree to the proposed pinning.")
    ] = False,
    sysfs_root: Annotated[
        Path, typer.Option("--sysfs-root", help="Root of the CPU tree.")
    ] = Path("/sys"),
    connect: Connect = "",
) -> None:
    """Print a domain with power management channels, or define it."""
    from cli.commands.pinning import Wish, place
    from domain_templates import (
        DomainKind,
        TemplateSpec,
        build,
        count_vcpus,
        load_template,
        validate,
    )

    is_defined = (define or start) and not (print_xml or dry_run)
    uri = uri_of(context, connect)
    chosen = load_template(template)
    image, disk_format = _parse_disk(disk)
    wish = Wish(
        pin=pin.strip(),
        emulator_pin=emulator_pin,
        node=numa_node,
        uri=uri,
        sysfs_root=sysfs_root,
        is_defined=is_defined,
        is_agreed=yes,
    )
    spec = TemplateSpec(
        vcpus=vcpus,
        memory_mib=memory,
        kernel=absolute(kernel),
        initrd=absolute(initrd),
        cmdline=cmdline,
        kind=DomainKind(kind),
        disk=image,
        disk_format=disk_format,
        cloud_init=absolute(cloud_init),
        networks=_parse_networks(network),
        channels=parse_numbers(channels),
        socket_dir=absolute(socket_dir),
        console=absolute(console),
        policy=_policy(low, high, turbo=turbo, mode=mode),
        settings=_parse_settings(settings),
    )
    build(name, spec, chosen)  # what cannot be is refused before anybody is asked
    _require_files(spec, is_here=is_defined or dry_run)
    placement = place(wish, vcpus or count_vcpus(chosen))
    xml = build(name, _placed(spec, placement), chosen)
    is_checked = validate(xml)
    if dry_run:
        _check_unknown(uri, name, is_checked=is_checked)
        say(f"Domain '{name}' could be defined")
    elif is_defined:
        domain = _define(uri, xml, is_started=start)
        _tell_defined(context, domain, placement.pins, is_started=start)
    else:
        typer.echo(xml, nl=False)


def _define(uri: str, xml: str, *, is_started: bool) -> "FoundDomain":
    from orchestrator.errors import HypervisorError
    from orchestrator.hypervisor.operator import OperatorConnection

    with OperatorConnection(uri) as connection:
        with working("defining the domain"):
            found = connection.define(xml)
        if is_started:
            try:
                with working(f"starting '{found.name}'"):
                    connection.start(found.uuid)
            except HypervisorError as error:
                error.hint = error.hint or f"'{found.name}' is defined, but off"
                raise
    return found


def _check_unknown(uri: str, name: str, *, is_checked: bool) -> None:
    """Refuse a name that libvirt has already; say what could not be checked."""
    from orchestrator.errors import ConfigError, DomainGone, HypervisorError
    from orchestrator.hypervisor.operator import OperatorConnection

    if not is_checked:
        say("hint: libvirt's schema is not installed: not checked", err=True)
    try:
        with OperatorConnection(uri) as connection:
            found = connection.find(name)
    except DomainGone:
        return
    except HypervisorError as error:
        say(f"hint: libvirt was not asked: {error}", err=True)
        return
    if found.name == name:
        raise ConfigError(
            f"domain '{name}' is there already ({found.uuid})",
            hint="choose another name, or undefine it first",
        )


def _tell_defined(
    context: typer.Context,
    domain: "FoundDomain",
    pins: "tuple[PCpu, ...]",
    *,
    is_started: bool,
) -> None:
    if settings_of(context).output is Output.JSON:
        tell_json(domain, {"started": is_started, "pins": list(pins)})
        return
    word = "defined and started" if is_started else "defined"
    say(f"Domain '{domain.name}' {word} ({domain.uuid})")


def _require_files(spec: "TemplateSpec", *, is_here: bool) -> None:
    from cli.commands.required_files import require_files

    files = {
        "--disk": spec.disk,
        "--cloud-init": spec.cloud_init,
        "--kernel": spec.kernel,
        "--initrd": spec.initrd,
    }
    require_files(files, is_here=is_here)


def _placed(spec: "TemplateSpec", placement: "Placement") -> "TemplateSpec":
    from dataclasses import replace

    return replace(
        spec,
        pins=placement.pins,
        emulator_pins=placement.emulator_pins,
        numa_node=placement.node,
    )


def _parse_disk(text: str) -> tuple[Path | None, str]:
    if not text:
        return None, ""
    name, _, disk_format = text.partition(",format=")
    path = Path(name).absolute()
    if not disk_format and path.suffix != ".qcow2" and _looks_like_qcow2(path):
        say(
            f"hint: {path} looks like qcow2 and is taken for raw, because a guest"
            f" could write that into a raw disk; say --disk {name},format=qcow2",
            err=True,
        )
    return path, disk_format


def _looks_like_qcow2(path: Path) -> bool:
    try:
        with path.open("rb") as file:
            return path.is_file() and file.read(len(_QCOW2)) == _QCOW2
    except OSError:
        return False  # libvirt may be able to read it; we need not


def _parse_networks(words: list[str] | None) -> "tuple[Network, ...] | None":
    from domain_templates import parse_network

    if words is None:
        return None
    return tuple(parse_network(word) for word in words if word != "none")


def _parse_settings(words: list[str] | None) -> dict[str, str]:
    settings = {}
    for word in words or ():
        key, equals, value = word.partition("=")
        if not equals or not key:
            raise typer.BadParameter(f"'{word}' is no KEY=VALUE")
        settings[key] = value
    return settings


def _policy(
    low: str, high: str, *, turbo: bool | None, mode: str | None
) -> "DomainSettings":
    from orchestrator.values.domain_settings import DomainSettings, Mode

    return DomainSettings(
        min_khz=parse_clock(low),
        max_khz=parse_clock(high),
        turbo=turbo,
        mode=Mode(mode) if mode else None,
    )
