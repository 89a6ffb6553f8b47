# SPDX-License-Identifier: Apache-2.0
"""`vmpower top`."""

import sys
import time
from pathlib import Path
from typing import Annotated

import typer

from cli.framework.failures import UsageError
from cli.framework.group import new_app
from cli.framework.session import connect, socket_path
from cli.framework.settings import settings_of

app = new_app()

_SVG_SIZE = (120, 40)


@app.command()
def top(
    context: typer.Context,
    *,
    delay_s: Annotated[
        float,
        typer.Option(
            "--delay",
            "-d",
            min=0.1,
            metavar="SECONDS",
            help="Refresh interval; longer if a refresh is expensive.",
        ),
    ] = 1.0,
    svg: Annotated[
        Path | None,
        typer.Option(
            "--svg", metavar="FILE", help="Write one picture to an SVG file and exit."
        ),
    ] = None,
    samples: Annotated[
        int,
        typer.Option(
            "--samples", min=2, help="Samples to collect before writing the picture."
        ),
    ] = 3,
    looks: Annotated[
        int | None,
        typer.Option("--looks", min=2, hidden=True, help="Old name of --samples."),
    ] = None,
) -> None:
    """Show CPU frequencies, domains and events, live.

    Press '?' for the keys.
    """
    settings = settings_of(context)
    with connect(settings) as client:
        # rich takes 60 ms to import; an unreachable daemon is reported before that.
        from cli.top.poller import Sample

        first = Sample(client.status(), time.monotonic())
        if svg is not None:
            from cli.top.export import export_svg

            export_svg(client, first, svg, _SVG_SIZE, (looks or samples, delay_s))
            return
        from cli.top.recorded import read_recorded

        history = read_recorded(client, delay_s)
    if not (sys.stdin.isatty() and sys.stdout.isatty()):
        raise UsageError(
            "'vmpower top' needs a terminal",
            hint="without one, use 'vmpower status' or 'vmpower top --svg FILE'",
        )
    from cli.top.loop import watch

    raise typer.Exit(watch(socket_path(settings), first, history, delay_s))
