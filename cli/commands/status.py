"""`vmpower status`."""

from pathlib import Path
from typing import Annotated

import typer

from cli.framework.answer import Answer
from cli.framework.group import new_app
from cli.framework.session import connect
from cli.framework.settings import OutputOption, settings_of
from cli.framework.watch import WatchableCommand, WatchOption, present
from cli.output.tables.status import build_status
from orchestrator.control.client import ControlClient

app = new_app()

_SVG_SIZE = (110, 40)


@app.command(cls=WatchableCommand)
def status(
    context: typer.Context,
    *,
    svg: Annotated[
        Path | None, typer.Option("--svg", metavar="FILE", help="Write a picture.")
    ] = None,
    watch_s: WatchOption = None,
    output: OutputOption = None,
) -> None:
    """Show who runs where, at what clock, and asked how often.

    The wish is what a vCPU's guest, or a policy for it, wants: the clock may be another
    one where CPUs share it, where bounds say so, or where an operator has set it.
    """
    settings = settings_of(context, output)
    if svg is None:
        present(settings, _ask, watch_s)
        return
    # rich costs 25 ms; who wants words does not pay for it.
    from cli.output.svg import write_svg
    from cli.output.tables.styled import render_styled

    with connect(settings) as client:
        drawn = render_styled(_ask(client).build(), _SVG_SIZE[0])
    write_svg(svg, drawn, title="vmpower status", size=_SVG_SIZE)


def _ask(client: ControlClient) -> Answer:
    document = client.status()
    return Answer(document, lambda: build_status(document, None))
