# SPDX-License-Identifier: Apache-2.0
"""`vmpower status`: domains, CPUs, frequencies and requests at a glance."""

from pathlib import Path
from typing import Annotated

import typer

from cli.commands.arguments import AllOption
from cli.framework.group import new_app
from cli.framework.session import Answer, connect
from cli.framework.settings import OutputOption, settings_of
from cli.framework.watch import WatchableCommand, WatchOption, show_query
from cli.output.tables.status import build_status
from orchestrator.control.client import ControlClient

app = new_app()

_SVG_SIZE = (110, 40)


@app.command(cls=WatchableCommand)
def status(
    context: typer.Context,
    *,
    svg: Annotated[
        Path | None,
        typer.Option("--svg", metavar="FILE", help="Write the page to an SVG file."),
    ] = None,
    has_shut_off: AllOption = False,
    watch_s: WatchOption = None,
    output: OutputOption = None,
) -> None:
    """Show running domains, CPUs, frequencies and request counts.

    Requested is what the guest or a policy requests for a vCPU. The actual frequency
    can differ: the CPUs of a clock group share it, and limits and overrides apply.
    """

    def query(client: ControlClient) -> Answer:
        document = client.status()
        return Answer(
            document, lambda: build_status(document, None, has_shut_off=has_shut_off)
        )

    settings = settings_of(context, output)
    if svg is None:
        show_query(settings, query, watch_s)
        return
    # rich costs 25 ms; only pictures need it.
    from cli.output.svg import write_svg
    from cli.output.tables.styled import render_styled

    with connect(settings) as client:
        drawn = render_styled(query(client).build(), _SVG_SIZE[0])
    write_svg(svg, drawn, title="vmpower status", size=_SVG_SIZE)
