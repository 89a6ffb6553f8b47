"""The root of the command: options before the command, and the commands."""

from pathlib import Path
from typing import Annotated

import typer

import orchestrator
from cli.framework.group import VmpowerGroup, new_app
from cli.framework.settings import DEFAULT_RUN_DIR, Output, Settings

app = new_app(
    name="vmpower",
    cls=VmpowerGroup,
    doc="See and steer the clocks that virtual machines ask for.",
)


def _show_version(is_wanted: bool) -> None:  # noqa: FBT001 - typer's signature
    if is_wanted:
        typer.echo(f"vmpower {orchestrator.__version__}")
        raise typer.Exit


@app.callback()
def vmpower(
    context: typer.Context,
    *,
    run_dir: Annotated[
        Path,
        typer.Option(
            "--run-dir", envvar="VMPOWER_RUN_DIR", help="Directory of the sockets."
        ),
    ] = DEFAULT_RUN_DIR,
    socket: Annotated[
        Path | None,
        typer.Option("--socket", help="One control socket instead."),
    ] = None,
    uri: Annotated[
        str,
        typer.Option("--connect", "-c", help="libvirt URI, as virsh takes it."),
    ] = "",
    output: Annotated[
        Output, typer.Option("--output", "-o", help="For people or for programs.")
    ] = Output.TABLE,
    is_plain: Annotated[
        bool, typer.Option("--plain", help="Plain tables also on a terminal.")
    ] = False,
    _version: Annotated[
        bool,
        typer.Option(
            "--version", is_eager=True, callback=_show_version, help="Show the version."
        ),
    ] = False,
) -> None:
    """Keep the options before the command."""
    context.obj = Settings(
        run_dir=run_dir, socket=socket, uri=uri, output=output, is_plain=is_plain
    )
