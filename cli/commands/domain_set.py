# SPDX-License-Identifier: Apache-2.0
"""`vmpower domain set`: the settings of a domain, stored in its own metadata.

The daemon applies them at once; other programs can write the same with
`virsh metadata`. Synchronization: none required, one command per process.
"""

# No postponed annotations: typer evaluates them when the command is built.

from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cli.commands.arguments import (
    Config,
    Connect,
    Current,
    DomainArgument,
    Live,
    print_domain_json,
    scope_of,
    uri_of,
)
from cli.commands.setting_options import OPTIONS, takes_settings
from cli.framework.options import takes_options
from cli.framework.settings import Output, OutputOption, settings_of
from cli.output.echo import Hints, echo
from orchestrator.values.domain_settings import DomainSettings, Form

if TYPE_CHECKING:
    from orchestrator.hypervisor.lookup import FoundDomain

_ALL = "all"


@dataclass(frozen=True, slots=True, kw_only=True)
class SetOptions:
    """What to remove, and where the settings are changed."""

    unset: Annotated[
        list[str] | None,
        typer.Option(
            metavar="|".join([*OPTIONS, _ALL]),
            help="Remove this setting; can be repeated.",
        ),
    ] = None
    live: Live = False
    config: Config = False
    current: Current = False
    print_xml: Annotated[
        bool,
        typer.Option(
            "--print-xml", help="Print the metadata element and change nothing."
        ),
    ] = False
    connect: Connect = ""
    output: OutputOption = None


@takes_settings
@takes_options(SetOptions)
def set_domain(
    context: typer.Context,
    domain: DomainArgument,
    given: dict[str, Any],
    options: SetOptions,
) -> None:
    """Change a domain's settings; options not given stay unchanged.

    The settings are stored in the domain's metadata and take effect at once. Those of
    the definition (--config) last until they are unset, those of the running domain
    (--live) until it is shut off. Rules in vmpowerd's configuration take precedence:
    'vmpower domain show' prints the effective settings and what limits each vCPU.

    Frequency limits hold while the domain runs, whatever is requested: the daemon also
    sets them in the kernel, for the clock groups that its vCPUs are pinned into. A vCPU
    that is not pinned into one clock group is not limited. CPUs that share their
    frequency with other domains, or with work of the host, are limited only as far as
    those permit.
    """
    from orchestrator.hypervisor.operator import OperatorConnection

    changes = _changes(given, options.unset or [])
    scope = scope_of(live=options.live, config=options.config, current=options.current)
    with OperatorConnection(uri_of(context, options.connect)) as connection:
        found = connection.find(domain)
        before = connection.read_settings(found.uuid, scope)
        after = {
            is_live: _change(read.settings, changes) for is_live, read in before.items()
        }
        if options.print_xml:
            _print_xml(after)
            return
        connection.write_settings(found.uuid, after)
    is_json = settings_of(context, options.output).output is Output.JSON
    hints = Hints(is_json=is_json)
    for problem in dict.fromkeys(
        it for read in before.values() for it in read.problems
    ):
        hints.add(f"replaced an invalid setting: {problem}")
    if is_json:
        keys = {True: "live", False: "config"}
        facts = {keys[is_live]: _facts(it) for is_live, it in after.items()}
        print_domain_json(found, {**facts, "hints": hints.texts})
    else:
        _report(found, after)


def _changes(given: dict[str, Any], unset: list[str]) -> dict[str, Any]:
    """Return the fields to change; None removes a setting."""
    changes = dict(given)
    for word in unset:
        if word not in (*OPTIONS, _ALL):
            known = ", ".join([*OPTIONS, _ALL])
            raise typer.BadParameter(f"invalid setting '{word}': expected {known}")
        removed = OPTIONS.values() if word == _ALL else [OPTIONS[word]]
        for setting in removed:
            changes.setdefault(setting.name, None)
    if not changes:
        raise typer.BadParameter("nothing to change: give a setting, or --unset one")
    return changes


def _change(settings: DomainSettings | None, changes: dict[str, Any]) -> DomainSettings:

    return replace(settings or DomainSettings(), **changes)


def _print_xml(settings: dict[bool, DomainSettings]) -> None:
    from orchestrator.domain_xml.metadata import build_settings

    for text in dict.fromkeys(map(build_settings, settings.values())):
        echo(text)


def _report(domain: "FoundDomain", after: dict[bool, DomainSettings]) -> None:
    """Print all settings of the domain after the change."""
    for is_live, settings in after.items():
        what = "Running domain" if is_live else "Definition of domain"
        text = ", ".join(_format_settings(settings)) or "no settings"
        echo(f"{what} '{domain.name}': {text}")


def _facts(settings: DomainSettings) -> dict[str, Any]:
    return {item.name: getattr(settings, item.name) for item in fields(settings)}


def _format_settings(settings: DomainSettings) -> list[str]:
    from orchestrator.values.units import format_khz

    texts = []
    for option, setting in OPTIONS.items():
        value = getattr(settings, setting.name)
        if value is not None:
            is_frequency = setting.form is Form.FREQUENCY
            text = format_khz(value) if is_frequency else setting.format(value)
            text += " us" * (setting.form is Form.LATENCY)
            texts.append(f"{option} {text}")
    return texts
