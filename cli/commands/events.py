"""`vmpower events`."""

from typing import Annotated

import typer

from cli.framework.group import new_app
from cli.framework.session import connect, write_json_line
from cli.framework.settings import Output, OutputOption, settings_of
from cli.output.echo import say
from cli.output.tables.events import render_event

app = new_app()


@app.command()
def events(
    context: typer.Context,
    *,
    is_following: Annotated[
        bool, typer.Option("--follow", "-f", help="Wait for more until Ctrl-C.")
    ] = False,
    output: OutputOption = None,
) -> None:
    """Show what happened lately; as JSON, one event per line."""
    settings = settings_of(context, output)
    with connect(settings) as client:
        for event in client.events(follow=is_following):
            if settings.output is Output.JSON:
                write_json_line(event)
            else:
                say(render_event(event, None))
