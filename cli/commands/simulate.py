# SPDX-License-Identifier: Apache-2.0
"""`vmpower simulate`: a tree of simulated CPUs, to try the daemon."""

from pathlib import Path
from typing import Annotated

import typer

from cli.framework.failures import as_usage_error
from cli.framework.group import new_app
from cli.framework.help import HelpfulCommand
from cli.output.echo import echo
from orchestrator.power.simulated import lay_out
from orchestrator.power.simulated_drivers import (
    DEFAULT_DRIVER,
    KERNEL_ONLY,
    SIMULATED_DRIVERS,
    find_simulated,
)

app = new_app()


def _list_drivers() -> list[tuple[str, str]]:
    """List the names of drivers, with what each is."""
    return [(name, driver.summary) for name, driver in SIMULATED_DRIVERS.items()]


class SimulateCommand(HelpfulCommand):
    """A command whose help explains every scaling driver."""

    def sections(self) -> dict[str, list[tuple[str, str]]]:
        """Return the drivers, and what is not simulated."""
        return {
            "Scaling drivers": _list_drivers(),
            "What files do in the kernel only": [*KERNEL_ONLY.items()],
        }


@app.command(cls=SimulateCommand)
def simulate(
    directory: Annotated[
        Path, typer.Argument(help="New or empty directory.", metavar="DIR")
    ],
    cpus: Annotated[int, typer.Option("--cpus", help="Number of CPUs.")],
    shared: Annotated[int, typer.Option("--shared", help="CPUs per clock group.")] = 1,
    sockets: Annotated[
        int, typer.Option("--sockets", help="Number of sockets, each a NUMA node.")
    ] = 1,
    driver: Annotated[
        str,
        typer.Option(
            "--driver",
            metavar="NAME",
            help="Scaling driver, one of those below.",
            autocompletion=_list_drivers,
        ),
    ] = DEFAULT_DRIVER,
) -> None:
    """Create a tree of simulated CPUs, to try vmpowerd.

    'vmpowerd --sysfs-root DIR' uses them instead of the host's CPUs.

    The files have the names, formats and first values of Linux 6.12. Without a kernel
    behind them, a write is not refused, limited or rounded, and changes no other file.
    Only scaling_cur_freq follows another one: scaling_setspeed, with any governor, or
    scaling_max_freq if the driver chooses frequencies itself, as if the CPUs were busy.
    """
    with as_usage_error():
        simulated = find_simulated(driver)
    lay_out(directory, cpus=cpus, shared=shared, sockets=sockets, driver=driver)
    echo(f"created {cpus} simulated CPUs with {driver} in {directory}")
    echo(f"use them with: vmpowerd --sysfs-root {directory} --run-dir {directory}/run")
    echo(
        "without the kernel, no write is refused, limited or rounded, and these files"
        f" change nothing by themselves: {', '.join(simulated.inert_files)}"
    )
