# SPDX-License-Identifier: Apache-2.0
"""`vmpower simulate`: a tree of simulated CPUs, to try the daemon."""

from pathlib import Path
from typing import Annotated

import typer

from cli.framework.group import new_app
from cli.output.echo import echo
from orchestrator.power.simulated import lay_out

app = new_app()


@app.command()
def simulate(
    directory: Annotated[
        Path, typer.Argument(help="New or empty directory.", metavar="DIR")
    ],
    cpus: Annotated[int, typer.Option("--cpus", help="Number of CPUs.")],
    shared: Annotated[int, typer.Option("--shared", help="CPUs per clock group.")] = 1,
    sockets: Annotated[
        int, typer.Option("--sockets", help="Number of sockets, each a NUMA node.")
    ] = 1,
) -> None:
    """Create a tree of simulated CPUs, to try vmpowerd.

    'vmpowerd --sysfs-root DIR' uses them instead of the host's CPUs.
    """
    lay_out(directory, cpus=cpus, shared=shared, sockets=sockets)
    echo(f"created {cpus} simulated CPUs in {directory}")
    echo(f"use them with: vmpowerd --sysfs-root {directory} --run-dir {directory}/run")
