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
            help="Time between two looks; longer where a look is expensive.",
        ),
    ] = 1.0,
    svg: Annotated[
        Path | None,
        typer.Option("--svg", metavar="FILE", help="Write one picture, and end."),
    ] = None,
    looks: Annotated[
        int,
        typer.Option("--looks", min=2, help="Looks before the picture is written."),
    ] = 3,
) -> None:
    """Watch clocks, domains and events, live; '?' shows the keys."""
    settings = settings_of(context)
    with connect(settings) as client:
        # rich and its friends cost 60 ms; a daemon that is not there costs none.
        from cli.top.feeder import Look

        first = Look(client.status(), time.monotonic())
        if svg is not None:
            from cli.top.frame import write_frame

            write_frame(client, first, svg, _SVG_SIZE, (looks, delay_s))
            return
    if not (sys.stdin.isatty() and sys.stdout.isatty()):
        raise UsageError(
            "'vmpower top' needs a terminal",
            hint="'vmpower status' and 'vmpower top --svg FILE' need none",
        )
    from cli.top.loop import watch

    raise typer.Exit(watch(socket_path(settings), first, delay_s))
