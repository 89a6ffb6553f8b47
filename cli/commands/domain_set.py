"""`domain set`: what a domain is allowed, written into its own metadata.

The daemon hears of it at once; other programs can write the same with `virsh metadata`.
Synchronization: none required, one command per process.
"""

# No postponed annotations here: typer reads them when the command is built.

from dataclasses import fields, replace
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from cli.commands.libvirt_options import (
    Config,
    Connect,
    Current,
    Live,
    parse_clock,
    scope_of,
    tell_json,
    uri_of,
)
from cli.completion import words
from cli.framework.failures import usage
from cli.framework.settings import Output, OutputOption, settings_of
from cli.output.echo import say

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
_EVERYTHING = "all"


def set_policy(  # noqa: PLR0913 - each parameter is an option of the command
    context: typer.Context,
    domain: Annotated[
        str,
        typer.Argument(help="Its id, UUID or name.", autocompletion=words.domains),
    ],
    *,
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
    queries: Annotated[
        bool | None,
        typer.Option("--queries/--no-queries", help="May ask for its own clocks."),
    ] = None,
    guest_policies: Annotated[
        bool | None,
        typer.Option(
            "--guest-policies/--no-guest-policies", help="May send policies of its own."
        ),
    ] = None,
    generation: Annotated[
        Literal["16", "456", "460", "464"] | None,
        typer.Option(help="Bytes of its packets, if they are not recognised."),
    ] = None,
    onboard: Annotated[
        bool | None,
        typer.Option(
            "--onboard/--no-onboard", help="Ask the daemon's rules for channels."
        ),
    ] = None,
    policy: Annotated[
        list[str] | None,
        typer.Option(
            metavar="'KIND [OPTION=VALUE]...'",
            help="What its vCPUs get without asking; can be given several times.",
        ),
    ] = None,
    unset: Annotated[
        list[str] | None,
        typer.Option(
            metavar="|".join([*_FIELDS, _EVERYTHING]),
            help="Say nothing of it any more.",
        ),
    ] = None,
    live: Live = False,
    config: Config = False,
    current: Current = False,
    print_xml: Annotated[
        bool, typer.Option("--print-xml", help="Print the element, change nothing.")
    ] = False,
    connect: Connect = "",
    output: OutputOption = None,
) -> None:
    """Set what a domain is allowed; what is not named stays as it is.

    It is written into the domain's metadata and is in force at once. Rules of the
    daemon's configuration stand above it: 'vmpower domain show' says what holds.
    """
    from orchestrator.hypervisor.operator import OperatorConnection
    from orchestrator.values.domain_settings import Mode

    wanted = {
        "min_khz": parse_clock(low),
        "max_khz": parse_clock(high),
        "turbo": turbo,
        "mode": Mode(mode) if mode else None,
        "queries": queries,
        "guest_policies": guest_policies,
        "generation": int(generation) if generation else None,
        "onboard": onboard,
        "policies": _policies(policy or []),
    }
    changes = _changes(wanted, unset or [])
    scope = scope_of(live=live, config=config, current=current)
    with OperatorConnection(uri_of(context, connect)) as connection:
        found = connection.find(domain)
        before = connection.read_settings(found.uuid, scope)
        after = {
            is_live: _change(read.settings, changes) for is_live, read in before.items()
        }
        if print_xml:
            _print(after)
            return
        connection.write_settings(found.uuid, after)
    for problem in dict.fromkeys(
        it for read in before.values() for it in read.problems
    ):
        say(f"hint: replaced what could not be meant: {problem}", err=True)
    _tell(context, output, found, after)


def _policies(texts: list[str]) -> str | None:
    from orchestrator.policy.text import format_policies, parse_policies

    with usage():
        rules = [rule for text in texts for rule in parse_policies(text)]
    return format_policies(rules) or None


def _changes(wanted: dict[str, Any], unset: list[str]) -> dict[str, Any]:
    changes = {name: value for name, value in wanted.items() if value is not None}
    for word in unset:
        if word not in (*_FIELDS, _EVERYTHING):
            raise typer.BadParameter(f"'{word}' is none of {', '.join(_FIELDS)}, all")
        names = _FIELDS.values() if word == _EVERYTHING else [_FIELDS[word]]
        for name in names:
            changes.setdefault(name, None)
    if not changes:
        raise typer.BadParameter("say what to set, or what to --unset")
    return changes


def _change(
    policy: "DomainSettings | None", changes: dict[str, Any]
) -> "DomainSettings":
    from orchestrator.values.domain_settings import DomainSettings

    return replace(policy or DomainSettings(), **changes)


def _print(policies: "dict[bool, DomainSettings]") -> None:
    from orchestrator.domain_xml.metadata import build_settings

    for text in dict.fromkeys(map(build_settings, policies.values())):
        say(text)


def _tell(
    context: typer.Context,
    output: Output | None,
    domain: "FoundDomain",
    policies: "dict[bool, DomainSettings]",
) -> None:
    if settings_of(context, output).output is Output.JSON:
        sides = {True: "live", False: "config"}
        tell_json(domain, {sides[key]: _facts(it) for key, it in policies.items()})
        return
    for is_live, policy in policies.items():
        what = "The running domain" if is_live else "The definition of"
        words = ", ".join(_words(policy)) or "nothing is said"
        say(f"{what} '{domain.name}': {words}")


def _facts(policy: "DomainSettings") -> dict[str, Any]:
    return {item.name: getattr(policy, item.name) for item in fields(policy)}


def _words(policy: "DomainSettings") -> list[str]:
    from orchestrator.values.units import format_khz

    words = []
    for word, name in _FIELDS.items():
        value = getattr(policy, name)
        if value is None:
            continue
        if name.endswith("_khz"):
            value = format_khz(value)
        elif isinstance(value, bool):
            value = "yes" if value else "no"
        words.append(f"{word} {value}")
    return words
