"""`domain onboard` and `domain offboard`: channels for domains that exist already.

With the operator's own libvirt rights, and without the daemon, which hears of it.
Synchronization: none required, one command per process.
"""

# No postponed annotations here: typer reads them when the command is built.

import difflib
import json
from typing import TYPE_CHECKING, Annotated, Any, TypeAlias

import typer

from cli.commands.libvirt_options import (
    POWER_OFF_NOTE,
    Config,
    Connect,
    Current,
    Live,
    parse_numbers,
    scope_of,
    uri_of,
)
from cli.completion import words
from cli.framework.failures import ExitStatus, status_of, tell
from cli.framework.settings import Output, OutputOption, settings_of
from cli.output.echo import say
from cli.output.progress import working
from orchestrator.values.cpuset import name_all

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from orchestrator.hypervisor.manual_onboarding import Change, Preview
    from orchestrator.hypervisor.operator import FoundDomain, OperatorConnection

Domains: TypeAlias = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="DOMAIN...",
        help="Ids, UUIDs, names, or patterns: 'dpdk-*'.",
        autocompletion=words.domains,
    ),
]
All: TypeAlias = Annotated[bool, typer.Option("--all", help="All domains.")]
PrintDiff: TypeAlias = Annotated[
    bool, typer.Option("--print-diff", help="Show the difference, change nothing.")
]


def onboard(  # noqa: PLR0913 - each parameter is an option of the command
    context: typer.Context,
    domains: Domains = None,
    *,
    is_all: All = False,
    channels: Annotated[
        str, typer.Option(metavar="all|NUMBERS", help="Channels it should have: 0,2.")
    ] = "all",
    live: Live = False,
    config: Config = False,
    current: Current = False,
    print_diff: PrintDiff = False,
    connect: Connect = "",
    output: OutputOption = None,
) -> None:
    """Give domains the channels that they lack, one for each vCPU.

    Without --live, --config or --current: the definition always, and the running
    domain as far as it has ports free, the lowest numbers first.
    """
    numbers = parse_numbers(channels)
    scope = scope_of(live=live, config=config, current=current)
    with _connect(context, connect) as connection:
        found = _find(connection, domains, is_all=is_all)
        if print_diff:
            for item in found:
                _show(item, connection.preview(item.uuid, numbers, scope))
            return
        _act(
            context,
            output,
            found,
            lambda item: connection.onboard(item.uuid, numbers, scope),
            _tell_onboarded,
        )


def offboard(  # noqa: PLR0913 - each parameter is an option of the command
    context: typer.Context,
    domains: Domains = None,
    *,
    is_all: All = False,
    channels: Annotated[
        str, typer.Option(metavar="all|NUMBERS", help="Only these of them: 0,2.")
    ] = "all",
    live: Live = False,
    config: Config = False,
    current: Current = False,
    print_diff: PrintDiff = False,
    connect: Connect = "",
    output: OutputOption = None,
) -> None:
    """Take away the channels that onboarding gave, and nothing else.

    What a rule of the daemon's gives comes back as long as the rule means the domain;
    'vmpower domain set DOMAIN --no-onboard' refuses it.
    """
    numbers = parse_numbers(channels)
    scope = scope_of(live=live, config=config, current=current)
    with _connect(context, connect) as connection:
        found = _find(connection, domains, is_all=is_all)
        if print_diff:
            for item in found:
                shown = connection.preview(item.uuid, numbers, scope, is_leaving=True)
                _show(item, shown)
            return
        _act(
            context,
            output,
            found,
            lambda item: connection.offboard(item.uuid, numbers, scope),
            _tell_offboarded,
        )


def _connect(context: typer.Context, connect: str) -> "OperatorConnection":
    from orchestrator.hypervisor.operator import OperatorConnection

    return OperatorConnection(uri_of(context, connect))


def _find(
    connection: "OperatorConnection", words: list[str] | None, *, is_all: bool
) -> "Sequence[FoundDomain]":
    if bool(words) is is_all:
        raise typer.BadParameter("name domains, or give --all")
    return connection.list_all() if is_all else connection.find_all(words or ())


def _act(
    context: typer.Context,
    output: Output | None,
    found: "Sequence[FoundDomain]",
    change: "Callable[[FoundDomain], Change]",
    tell_change: "Callable[[str, Change], None]",
) -> None:
    """Change each domain; one that cannot be changed does not hinder the others."""
    from orchestrator.errors import VmpowerError

    is_json = settings_of(context, output).output is Output.JSON
    told: list[dict[str, Any]] = []
    status = 0
    for number, item in enumerate(found, 1):
        facts: dict[str, Any] = {"uuid": item.uuid, "name": item.name}
        try:
            with working(f"domain {number} of {len(found)}: '{item.name}'"):
                done = change(item)
        except VmpowerError as error:
            tell(f"domain '{item.name}': {error}", error.hint)
            told.append({**facts, "error": str(error)})
            status = max(status, status_of(error))
            continue
        told.append({**facts, **_document(done)})
        if not is_json:
            tell_change(item.name, done)
    if is_json:
        typer.echo(json.dumps({"schema": 1, "domains": told}))
    if status:
        raise typer.Exit(ExitStatus(status))


def _document(change: "Change") -> dict[str, Any]:
    return {
        "live": list(change.live),
        "config": list(change.config),
        "waiting": list(change.waiting),
        "obstacle": change.obstacle,
    }


def _tell_onboarded(name: str, change: "Change") -> None:
    if not (change.live or change.config or change.obstacle):
        say(f"Domain '{name}' lacks no channel")
        return
    _tell_sides(name, change, "attached to", "added to")
    if change.obstacle:
        lacking = name_all("channel", change.waiting)
        say(f"Domain '{name}' runs without {lacking}: {change.obstacle}")
    if change.obstacle or (change.config and not change.live):
        say(POWER_OFF_NOTE)


def _tell_offboarded(name: str, change: "Change") -> None:
    if not (change.live or change.config):
        say(f"Domain '{name}' has no channel that onboarding gave")
        return
    _tell_sides(name, change, "detached from", "taken out of")


def _tell_sides(name: str, change: "Change", live: str, config: str) -> None:
    if change.live:
        channels = name_all("Channel", change.live)
        say(f"{channels} {live} the running domain '{name}'")
    if change.config:
        channels = name_all("Channel", change.config)
        say(f"{channels} {config} the definition of '{name}'")


def _show(domain: "FoundDomain", previews: "Sequence[Preview]") -> None:
    for preview in previews:
        what = "running" if preview.is_live else "definition"
        lines = difflib.unified_diff(
            preview.before.splitlines(),
            preview.after.splitlines(),
            f"{domain.name} ({what})",
            f"{domain.name} ({what}, changed)",
            lineterm="",
        )
        for line in lines:
            say(line)
