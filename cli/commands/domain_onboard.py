# SPDX-License-Identifier: Apache-2.0
"""`vmpower domain onboard` and `offboard`: add channels to domains, or remove them.

With the user's own libvirt rights; libvirt notifies the daemon of the changes.
Synchronization: none required, one command per process.
"""

# No postponed annotations: typer evaluates them when the command is built.

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeAlias

import typer

from cli.commands.arguments import (
    Config,
    Connect,
    Current,
    Live,
    parse_channels,
    scope_of,
    uri_of,
)
from cli.commands.domain_p_states import find_table_directory, read_configuration
from cli.commands.onboarding_report import (
    Done,
    done_document,
    print_difference,
    print_offboarded,
    print_onboarded,
)
from cli.completion import candidates
from cli.framework.failures import ExitStatus, status_of
from cli.framework.options import takes_options
from cli.framework.settings import Output, OutputOption, settings_of
from cli.output.echo import echo_error, print_json
from cli.output.progress import working

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from orchestrator import config as configurations
    from orchestrator.hypervisor.descriptions import Scope
    from orchestrator.hypervisor.lookup import FoundDomain
    from orchestrator.hypervisor.operator import OperatorConnection

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


PStates: TypeAlias = Annotated[
    bool,
    typer.Option(
        "--p-states", help="P-states for the guest; without --channels, only these."
    ),
]
Configuration: TypeAlias = Annotated[
    Path | None,
    typer.Option(
        "--configuration",
        metavar="FILE",
        help="Configuration file of vmpowerd, for P-states.",
    ),
]


@dataclass(frozen=True, slots=True, kw_only=True)
class OnboardOptions:
    """What is changed, and where."""

    live: Live = False
    config: Config = False
    current: Current = False
    p_states: PStates = False
    configuration: Configuration = None
    print_diff: PrintDiff = False
    connect: Connect = ""
    output: OutputOption = None

    @property
    def is_only_live(self) -> bool:
        """Whether only the running domain may be changed, if it runs."""
        return self.live or self.current

    @property
    def scope(self) -> "Scope":
        """The descriptions to change."""
        return scope_of(live=self.live, config=self.config, current=self.current)


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """What is to be added to domains, or removed from them."""

    has_channels: bool
    numbers: frozenset[int] | None
    """Of channels; None: all."""
    has_p_states: bool


@takes_options(OnboardOptions)
def onboard(
    context: typer.Context,
    domains: Domains = None,
    *,
    is_all: All = False,
    channels: Annotated[
        str | None,
        typer.Option(
            metavar="all|NUMBERS",
            help="Channels that the domains should have: 0,2. By default, all.",
        ),
    ] = None,
    options: OnboardOptions,
) -> None:
    """Add missing channels to domains, one for each vCPU, or P-states.

    By default, channels are added to the definition, and to the running domain as far
    as it has free ports, the lowest numbers first. If they do not suffice, another
    virtio-serial controller is plugged in where libvirt supports it; it stays until the
    domain is powered off.

    With --p-states, the guest's own cpufreq driver finds the frequencies of the host
    CPUs that its vCPUs are pinned to, within the limits of the host and the domain, and
    requests them without any program of vmpower in the guest. They are added to the
    definition, and take effect when the domain is powered off and started. Running the
    command again updates them after the pinning or a limit was changed.

    --print-diff does not ask libvirt, which adds the addresses, refuses the change if a
    controller is needed and no PCI slot is free, and may plug controllers into the
    running domain.
    """
    wanted = Wanted(
        has_channels=not options.p_states or channels is not None,
        numbers=parse_channels(channels or "all"),
        has_p_states=options.p_states,
    )
    _check_scope(options)
    scope = options.scope
    configuration = None
    if wanted.has_p_states:
        configuration = read_configuration(options.configuration)
    with _connect(context, options.connect) as connection:
        found = _find(connection, domains, is_all=is_all)
        if options.print_diff:
            for item in found:
                _preview(
                    connection, item, wanted, scope, configuration, is_leaving=False
                )
            return

        def change(item: "FoundDomain") -> Done:
            p_states = added = None
            if configuration is not None:
                p_states = connection.onboard_p_states(item.uuid, configuration)
            if wanted.has_channels:
                added = connection.onboard(item.uuid, wanted.numbers, scope)
            return Done(channels=added, p_states=p_states)

        _change_each(context, options.output, found, change, print_onboarded)


@takes_options(OnboardOptions)
def offboard(
    context: typer.Context,
    domains: Domains = None,
    *,
    is_all: All = False,
    channels: Annotated[
        str | None,
        typer.Option(
            metavar="all|NUMBERS",
            help="Channels to remove: 0,2. By default, all, and P-states.",
        ),
    ] = None,
    options: OnboardOptions,
) -> None:
    """Remove what onboarding added, and nothing else.

    P-states are removed from the definition; the running domain keeps its own until it
    is powered off. The files of ACPI tables are removed when no description of the
    domain names them, also no saved state and no snapshot.

    What an [[onboard]] rule of vmpowerd added comes back while the rule matches the
    domain; 'vmpower domain set DOMAIN --no-onboard' prevents that. libvirt may keep an
    empty <metadata/> element, and multifunction='on' of a PCI device that shared its
    slot with an added controller; neither has an effect.
    """
    wanted = Wanted(
        has_channels=not options.p_states or channels is not None,
        numbers=parse_channels(channels or "all"),
        has_p_states=options.p_states
        or (channels is None and not options.is_only_live),
    )
    _check_scope(options)
    scope, directory = options.scope, find_table_directory(options.configuration)
    with _connect(context, options.connect) as connection:
        found = _find(connection, domains, is_all=is_all)
        if options.print_diff:
            for item in found:
                _preview(connection, item, wanted, scope, None, is_leaving=True)
            return

        def change(item: "FoundDomain") -> Done:
            removed = p_states = None
            if wanted.has_channels:
                removed = connection.offboard(item.uuid, wanted.numbers, scope)
            if wanted.has_p_states:
                p_states = connection.offboard_p_states(item.uuid, directory)
            return Done(channels=removed, p_states=p_states)

        _change_each(context, options.output, found, change, print_offboarded)


def _preview(
    connection: "OperatorConnection",
    item: "FoundDomain",
    wanted: Wanted,
    scope: "Scope",
    configuration: "configurations.Config | None",
    *,
    is_leaving: bool,
) -> None:
    if wanted.has_channels:
        preview = connection.preview(
            item.uuid, wanted.numbers, scope, is_leaving=is_leaving
        )
        print_difference(item, preview)
    if wanted.has_p_states and (item.is_persistent or not is_leaving):
        print_difference(item, [connection.preview_p_states(item.uuid, configuration)])


def _check_scope(options: OnboardOptions) -> None:
    if options.p_states and options.is_only_live:
        raise typer.BadParameter(
            "--p-states excludes --live and --current: only a start of the domain loads"
            " an ACPI table"
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
    change: "Callable[[FoundDomain], Done]",
    report: "Callable[[str, Done], None]",
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
        results.append({**facts, **done_document(done)})
        if not is_json:
            report(item.name, done)
    if is_json:
        print_json({"domains": results})
    if status:
        raise typer.Exit(ExitStatus(status))
