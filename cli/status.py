"""`vmpower status`."""

import typer

from cli.group import new_app
from cli.session import connect, show
from cli.settings import OutputOption, settings_of
from cli.tables.status import build_status

app = new_app()


@app.command()
def status(
    context: typer.Context,
    output: OutputOption = None,
) -> None:
    """Show who runs where, at what clock, and asked how often."""
    settings = settings_of(context, output)
    with connect(settings) as client:
        document = client.status()
    show(settings, document, lambda: build_status(document, None))
