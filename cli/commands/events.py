# SPDX-License-Identifier: Apache-2.0
"""`vmpower events`: recent events, and those that follow."""

from typing import Annotated

import typer

from cli.framework.group import new_app
from cli.framework.session import connect
from cli.framework.settings import Output, OutputOption, settings_of
from cli.output.echo import echo, print_json_line
from cli.output.tables.events import render_event

app = new_app()


@app.command()
def events(
    context: typer.Context,
    *,
    is_following: Annotated[
        bool, typer.Option("--follow", "-f", help="Wait for new events until Ctrl-C.")
    ] = False,
    output: OutputOption = None,
) -> None:
    """Show recent events; as JSON, one event per line.

    vmpowerd keeps them in memory: they are lost when it restarts.
    """
    settings = settings_of(context, output)
    with connect(settings) as client:
        for event in client.events(follow=is_following):
            if settings.output is Output.JSON:
                print_json_line(event)
            else:
                echo(render_event(event, None))
