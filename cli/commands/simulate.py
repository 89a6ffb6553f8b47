"""`vmpower simulate`: CPUs to try everything on, made of files."""

from pathlib import Path
from typing import Annotated

import typer

from cli.framework.group import new_app
from cli.output.echo import say
from orchestrator.power.simulated import lay_out

app = new_app()


@app.command()
def simulate(
    directory: Annotated[Path, typer.Argument(help="New or empty.", metavar="DIR")],
    cpus: Annotated[int, typer.Option("--cpus", help="How many CPUs.")],
    shared: Annotated[
        int, typer.Option("--shared", help="How many neighbours share one clock.")
    ] = 1,
    sockets: Annotated[
        int, typer.Option("--sockets", help="How many sockets, each a NUMA node.")
    ] = 1,
) -> None:
    """Lay out simulated CPUs, to try vmpowerd without real ones.

    'vmpowerd --sysfs-root DIR' takes them for those of the host.
    """
    lay_out(directory, cpus=cpus, shared=shared, sockets=sockets)
    say(f"{cpus} simulated CPUs are in {directory}")
    say(f"try: vmpowerd --sysfs-root {directory} --run-dir {directory}/run")
