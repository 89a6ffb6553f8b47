"""`vmpower domain set`: the settings of a domain, stored in its own metadata.

The daemon applies them at once; other programs can write the same with
`virsh metadata`. Synchronization: none required, one command per process.
"""

# No postponed annotations: typer evaluates them when the command is built.

from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from cli.commands.arguments import (
    Config,
    Connect,
    Current,
    DomainArgument,
    Live,
    MaxFrequency,
    MinFrequency,
    Turbo,
    parse_frequency,
    print_domain_json,
    scope_of,
    uri_of,
)
from cli.framework.failures import as_usage_error
from cli.framework.options import takes_options
from cli.framework.settings import Output, OutputOption, settings_of
from cli.output.echo import echo

if TYPE_CHECKING:
    from orchestrator.hypervisor.operator import FoundDomain
    from orchestrator.values.domain_settings import DomainSettings

_FIELDS = {
    "min": "min_khz",
    "max": "max_khz",
    "turbo": "turbo",
    "mode": "mode",
    "queries": "queries",
    "guest-policies": "guest_policies",
    "generation": "generation",
    "onboard": "onboard",
    "policy": "policies",
}
"""Fields of DomainSettings by the name that the option and --unset use."""
_ALL = "all"


@dataclass(frozen=True, slots=True, kw_only=True)
class SetOptions:
    """The settings to change, and where, as they are typed."""

    low: MinFrequency = ""
    high: MaxFrequency = ""
    turbo: Turbo = None
    mode: Annotated[
        Literal["enforce", "observe"] | None,
        typer.Option(help="Whether its requests are applied, or refused and counted."),
    ] = None
    queries: Annotated[
        bool | None,
        typer.Option(
            "--queries/--no-queries",
            help="Allow or forbid the guest to query the frequencies of its vCPUs.",
        ),
    ] = None
    guest_policies: Annotated[
        bool | None,
        typer.Option(
            "--guest-policies/--no-guest-policies",
            help="Allow or forbid the guest to send policies.",
        ),
    ] = None
    generation: Annotated[
        Literal["16", "456", "460", "464"] | None,
        typer.Option(help="Size of the guest's packets in bytes, if detection fails."),
    ] = None
    onboard: Annotated[
        bool | None,
        typer.Option(
            "--onboard/--no-onboard",
            help="Request or refuse channels from vmpowerd's [[onboard]] rules.",
        ),
    ] = None
    policy: Annotated[
        list[str] | None,
        typer.Option(
            metavar="'KIND [OPTION=VALUE]...'",
            help="Policy for its vCPUs; can be repeated.",
        ),
    ] = None
    unset: Annotated[
        list[str] | None,
        typer.Option(
            metavar="|".join([*_FIELDS, _ALL]),
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


@takes_options(SetOptions)
def set_domain(
    context: typer.Context, domain: DomainArgument, options: SetOptions
) -> None:
    """Change a domain's settings; options not given stay unchanged.

    The settings are stored in the domain's metadata and take effect at once. Rules in
    vmpowerd's configuration take precedence: 'vmpower domain show' prints the effective
    settings. Frequency limits apply to what the guest and policies request; a CPU for
    which nothing is requested follows its governor.
    """
    from orchestrator.hypervisor.operator import OperatorConnection

    changes = _changes(options)
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
    for problem in dict.fromkeys(
        it for read in before.values() for it in read.problems
    ):
        echo(f"hint: replaced an invalid setting: {problem}", err=True)
    _report(context, options.output, found, after)


def _changes(options: SetOptions) -> dict[str, Any]:
    """Return the fields to change; None removes a setting."""
    from orchestrator.values.domain_settings import Mode

    given = {
        "min_khz": parse_frequency(options.low),
        "max_khz": parse_frequency(options.high),
        "turbo": options.turbo,
        "mode": Mode(options.mode) if options.mode else None,
        "queries": options.queries,
        "guest_policies": options.guest_policies,
        "generation": int(options.generation) if options.generation else None,
        "onboard": options.onboard,
        "policies": _format_policies(options.policy or []),
    }
    changes: dict[str, Any] = {n: it for n, it in given.items() if it is not None}
    for word in options.unset or []:
        if word not in (*_FIELDS, _ALL):
            known = ", ".join([*_FIELDS, _ALL])
            raise typer.BadParameter(f"invalid setting '{word}': expected {known}")
        names = _FIELDS.values() if word == _ALL else [_FIELDS[word]]
        for name in names:
            changes.setdefault(name, None)
    if not changes:
        raise typer.BadParameter("nothing to change: give a setting, or --unset one")
    return changes


def _format_policies(texts: list[str]) -> str | None:
    from orchestrator.policy.text import format_policies, parse_policies

    with as_usage_error():
        rules = [rule for text in texts for rule in parse_policies(text)]
    return format_policies(rules) or None


def _change(
    settings: "DomainSettings | None", changes: dict[str, Any]
) -> "DomainSettings":
    from orchestrator.values.domain_settings import DomainSettings

    return replace(settings or DomainSettings(), **changes)


def _print_xml(settings: "dict[bool, DomainSettings]") -> None:
    from orchestrator.domain_xml.metadata import build_settings

    for text in dict.fromkeys(map(build_settings, settings.values())):
        echo(text)


def _report(
    context: typer.Context,
    output: Output | None,
    domain: "FoundDomain",
    after: "dict[bool, DomainSettings]",
) -> None:
    """Print all settings of the domain after the change."""
    if settings_of(context, output).output is Output.JSON:
        keys = {True: "live", False: "config"}
        print_domain_json(
            domain, {keys[is_live]: _facts(it) for is_live, it in after.items()}
        )
        return
    for is_live, settings in after.items():
        what = "Running domain" if is_live else "Definition of domain"
        text = ", ".join(_format_settings(settings)) or "no settings"
        echo(f"{what} '{domain.name}': {text}")


def _facts(settings: "DomainSettings") -> dict[str, Any]:
    return {item.name: getattr(settings, item.name) for item in fields(settings)}


def _format_settings(settings: "DomainSettings") -> list[str]:
    from orchestrator.values.units import format_khz

    texts = []
    for label, name in _FIELDS.items():
        value = getattr(settings, name)
        if value is None:
            continue
        if name.endswith("_khz"):
            value = format_khz(value)
        elif isinstance(value, bool):
            value = "yes" if value else "no"
        texts.append(f"{label} {value}")
    return texts
