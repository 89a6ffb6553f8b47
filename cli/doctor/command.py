# SPDX-License-Identifier: Apache-2.0
"""`vmpower doctor`."""

# No postponed annotations: typer evaluates them when the command is built.

from pathlib import Path
from typing import Annotated

import typer

from cli.doctor.capabilities import list_capabilities
from cli.doctor.checks import CHECKS
from cli.doctor.diagnosis import Missing, diagnose
from cli.doctor.facts.cpus import Cpus
from cli.doctor.gather import gather
from cli.doctor.report import build_document, build_sheets
from cli.doctor.target import Target
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
        typer.Option("--connect", "-c", metavar="URI", help="libvirt to check."),
    ] = "",
    config: Annotated[
        Path | None,
        typer.Option(
            "--config", metavar="FILE", help="Configuration file of the daemon."
        ),
    ] = None,
    sysfs_root: Annotated[
        Path | None,
        typer.Option("--sysfs-root", metavar="DIR", help="CPU tree to check."),
    ] = None,
    root: Annotated[
        Path,
        typer.Option(
            "--root", metavar="DIR", help="Check a copy of a host's files (sosreport)."
        ),
    ] = Path("/"),
    output: OutputOption = None,
) -> None:
    """Diagnose problems on this host and suggest fixes.

    Works without the daemon; if it is running, what it knows is checked too. Exits with
    status 5 if there is something to fix.
    """
    settings = settings_of(context, output)
    target = Target(
        root=root,
        sysfs_root=sysfs_root,
        run_dir=settings.run_dir,
        socket=settings.socket,
        config=config,
        uri=connect or settings.uri,
    )
    facts = gather(target)
    cpus = facts[Cpus]
    capabilities = [] if isinstance(cpus, Missing) else list_capabilities(cpus)
    diagnosis = diagnose(CHECKS, facts)
    show(
        settings,
        build_document(diagnosis, capabilities),
        lambda: build_sheets(diagnosis, capabilities),
    )
    if not diagnosis.is_healthy:
        raise typer.Exit(ExitStatus.FINDINGS)
