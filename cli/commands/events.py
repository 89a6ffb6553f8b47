# SPDX-License-Identifier: Apache-2.0
"""`vmpower events`: recorded events, and those that follow."""

from datetime import UTC, datetime
from typing import Annotated

import typer

from cli.commands.moments import MOMENT_FORMATS, parse_moment
from cli.completion import candidates
from cli.framework.failures import as_usage_error
from cli.framework.group import new_app
from cli.framework.session import connect
from cli.framework.settings import Output, OutputOption, settings_of
from cli.output.echo import echo, print_json_line
from cli.output.tables.events import render_event
from orchestrator.errors import ConfigError
from orchestrator.values.event_kinds import EVENT_KINDS

app = new_app()


@app.command()
def events(  # noqa: PLR0913 - each parameter is an option of the command
    context: typer.Context,
    domain: Annotated[
        str,
        typer.Argument(
            help="Domain whose events to show: name, UUID or ID.",
            autocompletion=candidates.domains,
            show_default=False,
        ),
    ] = "",
    *,
    since: Annotated[
        str,
        typer.Option(
            "--since",
            metavar="TIME",
            help=f"Show events from this time on: {MOMENT_FORMATS}.",
            show_default=False,
        ),
    ] = "",
    until: Annotated[
        str,
        typer.Option(
            "--until",
            metavar="TIME",
            help="Show events up to this time.",
            show_default=False,
        ),
    ] = "",
    kinds: Annotated[
        list[str] | None,
        typer.Option(
            "--kind",
            "-k",
            metavar="KIND",
            help=f"Show events of this kind: {', '.join(EVENT_KINDS)}. Repeatable.",
            autocompletion=lambda: list(EVENT_KINDS.items()),
        ),
    ] = None,
    count: Annotated[
        int | None,
        typer.Option(
            "--lines",
            "-n",
            min=1,
            metavar="N",
            help="Show only the latest N of the recorded events.",
            show_default=False,
        ),
    ] = None,
    is_following: Annotated[
        bool, typer.Option("--follow", "-f", help="Wait for new events until Ctrl-C.")
    ] = False,
    after: Annotated[
        int,
        typer.Option(
            "--after",
            min=0,
            metavar="ID",
            help="Show only events behind the one with this ID, as JSON shows it.",
            show_default=False,
        ),
    ] = 0,
    output: OutputOption = None,
) -> None:
    """Show recorded events; as JSON, one event per line.

    vmpowerd records the latest events, several thousand, until the host is booted.
    """
    settings = settings_of(context, output)
    with as_usage_error():
        now = datetime.now(UTC).astimezone()
        first, latest = parse_moment(since, now), parse_moment(until, now)
        _check(kinds or [], is_following=is_following, until=until)
    with connect(settings) as client:
        for event in client.events(
            follow=is_following,
            after=after,
            last=count or 0,
            domain=domain,
            kind=",".join(kinds or []),
            since=first,
            until=latest,
        ):
            if settings.output is Output.JSON:
                print_json_line(event)
            else:
                echo(render_event(event, None))


def _check(kinds: list[str], *, is_following: bool, until: str) -> None:
    if is_following and until:
        raise ConfigError("--follow and --until exclude each other")
    for kind in kinds:
        if kind not in EVENT_KINDS:
            raise ConfigError(
                f"invalid kind '{kind}': expected {', '.join(EVENT_KINDS)}"
            )
