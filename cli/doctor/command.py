"""`vmpower doctor`."""

# No postponed annotations here: typer reads them when the command is built.

from pathlib import Path
from typing import Annotated

import typer

from cli.doctor.abilities import list_abilities
from cli.doctor.checks import CHECKS
from cli.doctor.examination import Missing, examine
from cli.doctor.facts.cpus import Cpus
from cli.doctor.gather import gather
from cli.doctor.places import Places
from cli.doctor.report import build_document, build_sheets
from cli.framework.failures import ExitStatus
from cli.framework.group import new_app
from cli.framework.session import show
from cli.framework.settings import OutputOption, settings_of

app = new_app()


@app.command()
def doctor(
    context: typer.Context,
    *,
    connect: Annotated[
        str,
        typer.Option("--connect", "-c", metavar="URI", help="libvirt to look at."),
    ] = "",
    config: Annotated[
        Path | None,
        typer.Option("--config", metavar="FILE", help="Configuration of the daemon."),
    ] = None,
    sysfs_root: Annotated[
        Path | None,
        typer.Option("--sysfs-root", metavar="DIR", help="CPU tree to look at."),
    ] = None,
    root: Annotated[
        Path,
        typer.Option(
            "--root", metavar="DIR", help="Copy of another machine's files (sosreport)."
        ),
    ] = Path("/"),
    output: OutputOption = None,
) -> None:
    """Say what keeps vmpower from working here, and the cure.

    Works without the daemon, and then says what only the daemon knows. Ends with 5 if
    there is something to be done.
    """
    settings = settings_of(context, output)
    places = Places(
        root=root,
        sysfs_root=sysfs_root,
        run_dir=settings.run_dir,
        socket=settings.socket,
        config=config,
        uri=connect or settings.uri,
    )
    facts = gather(places)
    cpus = facts[Cpus]
    abilities = () if isinstance(cpus, Missing) else list_abilities(cpus)
    examination = examine(CHECKS, facts)
    show(
        settings,
        build_document(examination, abilities),
        lambda: build_sheets(examination, abilities),
    )
    if not examination.is_healthy:
        raise typer.Exit(ExitStatus.FINDINGS)
