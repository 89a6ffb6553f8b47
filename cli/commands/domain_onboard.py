# SPDX-License-Identifier: Apache-2.0
"""`vmpower domain onboard` and `offboard`: add channels to domains, or remove them.

With the user's own libvirt rights; libvirt notifies the daemon of the changes.
Synchronization: none required, one command per process.
"""

# No postponed annotations: typer evaluates them when the command is built.

import difflib
from typing import TYPE_CHECKING, Annotated, Any, TypeAlias

import typer

from cli.commands.arguments import (
    POWER_OFF_NOTE,
    Config,
    Connect,
    Current,
    Live,
    parse_channels,
    scope_of,
    uri_of,
)
from cli.completion import candidates
from cli.framework.failures import ExitStatus, status_of
from cli.framework.settings import Output, OutputOption, settings_of
from cli.output.echo import echo, echo_error, print_json
from cli.output.progress import working
from orchestrator.values.cpuset import name_all

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from orchestrator.hypervisor.manual_onboarding import Change, Preview
    from orchestrator.hypervisor.operator import FoundDomain, OperatorConnection

_SAVED_STATE = (
    "Domain '{name}' has a saved state ('virsh managedsave'), which stays as it is:"
    " the change takes effect after the domain has been restored and powered off, or"
    " after 'virsh managedsave-remove {name}'."
)

Domains: TypeAlias = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="DOMAIN...",
        help="Domain ids, names or UUIDs, or name patterns such as 'dpdk-*'.",
        autocompletion=candidates.domains,
    ),
]
All: TypeAlias = Annotated[bool, typer.Option("--all", help="All domains.")]
PrintDiff: TypeAlias = Annotated[
    bool,
    typer.Option("--print-diff", help="Print the difference and change nothing."),
]


def onboard(  # noqa: PLR0913 - each parameter is an option of the command
    context: typer.Context,
    domains: Domains = None,
    *,
    is_all: All = False,
    channels: Annotated[
        str,
        typer.Option(
            metavar="all|NUMBERS", help="Channels that the domains should have: 0,2."
        ),
    ] = "all",
    live: Live = False,
    config: Config = False,
    current: Current = False,
    print_diff: PrintDiff = False,
    connect: Connect = "",
    output: OutputOption = None,
) -> None:
    """Add missing channels to domains, one for each vCPU.

    By default, channels are added to the definition, and to the running domain as far
    as it has free ports, the lowest numbers first. If they do not suffice, another
    virtio-serial controller is plugged in where libvirt supports it; it stays until the
    domain is powered off.

    --print-diff does not ask libvirt, which adds the addresses, refuses the change if a
    controller is needed and no PCI slot is free, and may plug controllers into the
    running domain.
    """
    numbers = parse_channels(channels)
    scope = scope_of(live=live, config=config, current=current)
    with _connect(context, connect) as connection:
        found = _find(connection, domains, is_all=is_all)
        if print_diff:
            for item in found:
                _print_diff(item, connection.preview(item.uuid, numbers, scope))
            return
        _change_each(
            context,
            output,
            found,
            lambda item: connection.onboard(item.uuid, numbers, scope),
            _report_onboarded,
        )


def offboard(  # noqa: PLR0913 - each parameter is an option of the command
    context: typer.Context,
    domains: Domains = None,
    *,
    is_all: All = False,
    channels: Annotated[
        str, typer.Option(metavar="all|NUMBERS", help="Channels to remove: 0,2.")
    ] = "all",
    live: Live = False,
    config: Config = False,
    current: Current = False,
    print_diff: PrintDiff = False,
    connect: Connect = "",
    output: OutputOption = None,
) -> None:
    """Remove the channels that onboarding added, and nothing else.

    Channels added by an [[onboard]] rule of vmpowerd come back while the rule matches
    the domain; 'vmpower domain set DOMAIN --no-onboard' prevents that. libvirt may keep
    an empty <metadata/> element, and multifunction='on' of a PCI device that shared its
    slot with an added controller; neither has an effect.
    """
    numbers = parse_channels(channels)
    scope = scope_of(live=live, config=config, current=current)
    with _connect(context, connect) as connection:
        found = _find(connection, domains, is_all=is_all)
        if print_diff:
            for item in found:
                preview = connection.preview(item.uuid, numbers, scope, is_leaving=True)
                _print_diff(item, preview)
            return
        _change_each(
            context,
            output,
            found,
            lambda item: connection.offboard(item.uuid, numbers, scope),
            _report_offboarded,
        )


def _connect(context: typer.Context, connect: str) -> "OperatorConnection":
    from orchestrator.hypervisor.operator import OperatorConnection

    return OperatorConnection(uri_of(context, connect))


def _find(
    connection: "OperatorConnection", names: list[str] | None, *, is_all: bool
) -> "Sequence[FoundDomain]":
    if bool(names) is is_all:
        raise typer.BadParameter("expected either domains or --all")
    return connection.list_all() if is_all else connection.find_all(names or ())


def _change_each(
    context: typer.Context,
    output: Output | None,
    found: "Sequence[FoundDomain]",
    change: "Callable[[FoundDomain], Change]",
    report: "Callable[[str, Change], None]",
) -> None:
    """Change all domains; continue with the others if one fails."""
    from orchestrator.errors import VmpowerError

    is_json = settings_of(context, output).output is Output.JSON
    results: list[dict[str, Any]] = []
    status = 0
    for number, item in enumerate(found, 1):
        facts: dict[str, Any] = {"uuid": item.uuid, "name": item.name}
        try:
            with working(f"domain {number} of {len(found)}: '{item.name}'"):
                done = change(item)
        except VmpowerError as error:
            if not is_json:
                echo_error(f"domain '{item.name}': {error}", error.hint)
            results.append({**facts, "error": str(error), "hint": error.hint})
            status = max(status, status_of(error))
            continue
        results.append({**facts, **_document(done)})
        if not is_json:
            report(item.name, done)
    if is_json:
        print_json({"domains": results})
    if status:
        raise typer.Exit(ExitStatus(status))


def _document(change: "Change") -> dict[str, Any]:
    return {
        "live": list(change.live),
        "config": list(change.config),
        "waiting": list(change.waiting),
        "obstacle": change.obstacle,
        "by_rule": list(change.by_rule),
        "has_saved_state": change.has_saved_state,
    }


def _report_onboarded(name: str, change: "Change") -> None:
    if not (change.live or change.config or change.obstacle):
        echo(f"Domain '{name}' already has all requested channels")
        return
    _report_channels(name, change, "attached to", "added to")
    if change.obstacle:
        missing = name_all("Channel", change.waiting)
        echo(
            f"{missing} not attached to the running domain '{name}': {change.obstacle}"
        )
    if change.has_saved_state:
        echo(_SAVED_STATE.format(name=name))
    elif change.obstacle or (change.config and not change.live):
        echo(POWER_OFF_NOTE)


def _report_offboarded(name: str, change: "Change") -> None:
    if not (change.live or change.config):
        echo(f"Domain '{name}' has no channels added by onboarding")
        return
    _report_channels(name, change, "detached from", "removed from")
    if change.has_saved_state:
        echo(_SAVED_STATE.format(name=name))
    _report_rule(name, change.by_rule)


def _report_rule(name: str, numbers: "Sequence[int]") -> None:
    if numbers:
        channels = name_all("channel", numbers)
        echo(
            f"hint: an [[onboard]] rule of vmpowerd added {channels}, and adds them"
            f" again while it matches; 'vmpower domain set {name} --no-onboard'"
            " prevents that",
            err=True,
        )


def _report_channels(name: str, change: "Change", live: str, config: str) -> None:
    if change.live:
        channels = name_all("Channel", change.live)
        echo(f"{channels} {live} the running domain '{name}'")
    if change.config:
        channels = name_all("Channel", change.config)
        echo(f"{channels} {config} the definition of domain '{name}'")


def _print_diff(domain: "FoundDomain", previews: "Sequence[Preview]") -> None:
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
            echo(line)
    if any(preview.has_saved_state for preview in previews):
        # Not among the lines that 'patch' may read.
        echo(_SAVED_STATE.format(name=domain.name), err=True)
    by_rule = {number for preview in previews for number in preview.by_rule}
    _report_rule(domain.name, sorted(by_rule))
