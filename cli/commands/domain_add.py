# SPDX-License-Identifier: Apache-2.0
"""`vmpower domain add`: print or define a domain, with the user's own libvirt rights.

The daemon is not needed; libvirt notifies it of the new domain.
Synchronization: none required, one command per process.
"""

# No postponed annotations: typer evaluates them when the command is built.

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cli.commands.arguments import (
    absolute,
    parse_channels,
    parse_frequency,
    print_domain_json,
    uri_of,
)
from cli.commands.domain_add_options import AddOptions
from cli.commands.domain_add_p_states import with_p_states
from cli.framework.options import takes_options
from cli.framework.settings import Output, settings_of
from cli.output.echo import Hints, echo
from cli.output.progress import working

if TYPE_CHECKING:
    from cli.commands.pinning import Placement
    from domain_templates import Network, Template, TemplateSpec
    from orchestrator.hypervisor.lookup import FoundDomain
    from orchestrator.hypervisor.p_states import PStateDefinition
    from orchestrator.values.domain_settings import DomainSettings

_QCOW2_MAGIC = b"QFI\xfb"
_INHERITED = (
    "kept from template '{template}': {what}; two running domains cannot share it"
)


@takes_options(AddOptions)
def add(
    context: typer.Context,
    name: Annotated[str, typer.Argument(help="Name of the new domain.")],
    options: AddOptions,
) -> None:
    """Print or define a domain with power management channels.

    By default, its XML is printed and nothing is changed.
    """
    from cli.commands.domain_add_checks import check_options
    from cli.commands.pinning import PinningOptions, choose_placement
    from domain_templates import build, count_vcpus, validate

    uri = uri_of(context, options.connect)
    template, options = _load_template(options)
    is_json = settings_of(context).output is Output.JSON
    # XML and the result of a dry run are text, whatever the output.
    hints = Hints(is_json=is_json and options.is_defining and not options.dry_run)
    spec = _spec(options, hints)
    build(name, spec, template)  # report invalid options before asking questions
    is_for_here = options.is_defining or options.dry_run
    check_options(_files(spec), hints, must_exist=is_for_here)
    vcpus = options.vcpus or count_vcpus(template)
    placement = choose_placement(PinningOptions.of(options, uri), vcpus, hints)
    built = build(name, _placed(spec, placement), template)
    xml, made = with_p_states(uri, built, options, hints)
    is_validated = validate(xml, has_lines=False)
    _hint_at_inherited(xml, template, hints)
    if is_for_here:
        _check(uri, name, xml, options, hints)
    if options.dry_run:
        if not is_validated:
            hints.add("XML not validated: libvirt's schema is not installed")
        echo(f"Domain '{name}' is valid; nothing was changed")
    elif options.is_defining:
        domain = _define(uri, xml, made, is_started=options.start)
        facts = {"started": options.start, "pins": list(placement.pins)}
        _report(domain, {**facts, "hints": hints.texts}, is_json=is_json)
    else:
        typer.echo(xml, nl=False)


def _load_template(options: AddOptions) -> "tuple[Template, AddOptions]":
    """Return the template, and the options with what it says by default."""
    from domain_templates import load_template

    template = load_template(options.template)
    if options.p_states is None:
        options = replace(options, p_states=template.has_p_states)
    return template, options


def _hint_at_inherited(xml: str, template: "Template", hints: Hints) -> None:
    from domain_templates import name_inherited

    for what in name_inherited(xml, template):
        hints.add(_INHERITED.format(template=template.name, what=what))


def _spec(options: AddOptions, hints: Hints) -> "TemplateSpec":
    """Read the options that describe the machine; its pinning is chosen later."""
    from domain_templates import DomainKind, TemplateSpec

    image, disk_format = _parse_disk(options.disk, hints)
    return TemplateSpec(
        vcpus=options.vcpus,
        memory_mib=options.memory,
        kernel=absolute(options.kernel),
        initrd=absolute(options.initrd),
        cmdline=options.cmdline,
        kind=DomainKind(options.kind),
        disk=image,
        disk_format=disk_format,
        cloud_init=absolute(options.cloud_init),
        networks=_parse_networks(options.network),
        channels=parse_channels(
            options.channels or ("none" if options.p_states else "all")
        ),
        socket_dir=absolute(options.socket_dir),
        console=absolute(options.console),
        settings=_settings(options),
        parameters=_parse_parameters(options.settings),
    )


def _files(spec: "TemplateSpec") -> dict[str, Path | None]:
    return {
        "--disk": spec.disk,
        "--cloud-init": spec.cloud_init,
        "--kernel": spec.kernel,
        "--initrd": spec.initrd,
    }


def _settings(options: AddOptions) -> "DomainSettings":
    from orchestrator.values.domain_settings import DomainSettings

    return DomainSettings(
        min_khz=parse_frequency(options.low),
        max_khz=parse_frequency(options.high),
        turbo=options.turbo,
        mode=options.mode,
    )


def _placed(spec: "TemplateSpec", placement: "Placement") -> "TemplateSpec":
    return replace(
        spec,
        pins=placement.pins,
        emulator_pins=placement.emulator_pins,
        numa_node=placement.node,
    )


def _define(
    uri: str, xml: str, p_states: "PStateDefinition | None", *, is_started: bool
) -> "FoundDomain":
    from orchestrator.errors import HypervisorError
    from orchestrator.hypervisor.operator import OperatorConnection

    with OperatorConnection(uri) as connection:
        with working("defining the domain"):
            found = connection.define(xml, p_states)
        if is_started:
            try:
                with working(f"starting '{found.name}'"):
                    connection.start(found.uuid)
            except HypervisorError as error:
                error.hint = (
                    error.hint or f"domain '{found.name}' was defined but not started"
                )
                raise
    return found


def _report(domain: "FoundDomain", facts: dict[str, Any], *, is_json: bool) -> None:
    if is_json:
        print_domain_json(domain, facts)
        return
    done = "defined and started" if facts["started"] else "defined"
    echo(f"Domain '{domain.name}' {done} ({domain.uuid})")


def _check(uri: str, name: str, xml: str, options: AddOptions, hints: Hints) -> None:
    """Find what libvirt would refuse; hint at what could not be checked.

    Raises:
        ConfigError: the name is in use, or the domain would not start.
        HypervisorError: it is pinned to a CPU that the host lacks.
    """
    from cli.commands.domain_add_checks import check_host, check_name_is_free
    from domain_templates.needs import read_needs
    from orchestrator.errors import HypervisorError
    from orchestrator.hypervisor.operator import OperatorConnection
    from orchestrator.power.sysfs import CpuTree

    try:
        connection = OperatorConnection(uri)
    except HypervisorError as error:
        if not options.dry_run:
            raise
        hints.add(f"not checked, except the XML and the files of options: {error}")
        return
    with connection:
        check_name_is_free(connection, name)
        must_start = options.start or options.dry_run
        tree = CpuTree(options.sysfs_root)
        needs = read_needs(xml)
        check_host(connection, tree, needs, hints, must_start=must_start)


def _parse_disk(text: str, hints: Hints) -> tuple[Path | None, str]:
    if not text:
        return None, ""
    name, _, disk_format = text.partition(",format=")
    path = Path(name).absolute()
    if not disk_format and path.suffix != ".qcow2" and _is_like_qcow2(path):
        hints.add(
            f"{path} looks like a qcow2 image and is used as raw, because a guest can"
            f" write a qcow2 header to a raw disk; if it is qcow2, use --disk"
            f" {name},format=qcow2"
        )
    return path, disk_format


def _is_like_qcow2(path: Path) -> bool:
    try:
        with path.open("rb") as file:
            return path.is_file() and file.read(len(_QCOW2_MAGIC)) == _QCOW2_MAGIC
    except OSError:
        return False  # permission denied: libvirt may still have access


def _parse_networks(texts: list[str] | None) -> "tuple[Network, ...] | None":
    from domain_templates import parse_network

    if texts is None:
        return None
    return tuple(parse_network(text) for text in texts if text != "none")


def _parse_parameters(texts: list[str] | None) -> dict[str, str]:
    parameters = {}
    for text in texts or ():
        key, equals, value = text.partition("=")
        if not equals or not key:
            raise typer.BadParameter(f"invalid parameter '{text}': expected KEY=VALUE")
        parameters[key] = value
    return parameters
