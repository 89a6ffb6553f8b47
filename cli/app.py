# SPDX-License-Identifier: Apache-2.0
"""The root of the command line: the global options and all commands."""

from pathlib import Path
from typing import Annotated

import typer

import orchestrator
from cli.framework.group import VmpowerGroup, new_app
from cli.framework.settings import DEFAULT_RUN_DIR, Output, Settings

app = new_app(
    name="vmpower",
    cls=VmpowerGroup,
    doc="Monitor and control the CPU frequencies that virtual machines request.",
)


def _show_version(is_requested: bool) -> None:  # noqa: FBT001 - typer's signature
    if is_requested:
        typer.echo(f"vmpower {orchestrator.__version__}")
        raise typer.Exit


@app.callback()
def vmpower(
    context: typer.Context,
    *,
    run_dir: Annotated[
        Path,
        typer.Option(
            "--run-dir",
            envvar="VMPOWER_RUN_DIR",
            help="Directory of the daemon's sockets.",
        ),
    ] = DEFAULT_RUN_DIR,
    socket: Annotated[
        Path | None,
        typer.Option("--socket", help="Use this control socket instead of --run-dir."),
    ] = None,
    uri: Annotated[
        str,
        typer.Option("--connect", "-c", help="libvirt URI, as for virsh."),
    ] = "",
    output: Annotated[
        Output, typer.Option("--output", "-o", help="Output format.")
    ] = Output.TABLE,
    is_plain: Annotated[
        bool, typer.Option("--plain", help="Print plain tables even on a terminal.")
    ] = False,
    _version: Annotated[
        bool,
        typer.Option(
            "--version",
            is_eager=True,
            callback=_show_version,
            help="Print the version and exit.",
        ),
    ] = False,
) -> None:
    """Store the global options."""
    context.obj = Settings(
        run_dir=run_dir, socket=socket, uri=uri, output=output, is_plain=is_plain
    )
