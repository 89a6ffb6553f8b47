# SPDX-License-Identifier: Apache-2.0
"""`vmpower energy`: what domains draw, and what lower frequencies save."""

from typing import Annotated

import typer

from cli.commands.arguments import DomainArgument
from cli.framework.failures import UsageError
from cli.framework.group import new_app
from cli.framework.session import Answer, connect, show
from cli.framework.settings import Output, OutputOption, settings_of
from cli.framework.watch import WatchableCommand, WatchOption, show_query
from cli.output.echo import echo, print_json
from cli.output.tables.cells import find_step_name
from cli.output.tables.energy import build_energy, explain_domain
from orchestrator.control.client import ControlClient
from orchestrator.values.quantities import format_watts

app = new_app(doc="Energy: show what is drawn and saved, explain, calibrate.")


@app.command("show", cls=WatchableCommand)
def show_energy(
    context: typer.Context, watch_s: WatchOption = None, output: OutputOption = None
) -> None:
    """Show what the host and its domains draw and save.

    Saved is the difference to the same vCPUs at their highest permitted step. A
    domain's power has no part of the static power, which processors draw also while
    all cores are idle. The uncertainty is one standard deviation.
    """

    def query(client: ControlClient) -> Answer:
        document = client.energy()
        return Answer(document, lambda: build_energy(document))

    show_query(settings_of(context, output), query, watch_s)


@app.command("explain")
def explain(
    context: typer.Context, domain: DomainArgument, output: OutputOption = None
) -> None:
    """Explain how a domain's energy is computed."""
    settings = settings_of(context, output)
    with connect(settings) as client:
        found = client.domain(domain)
        document, cpus = client.energy(), client.cpus()["cpus"]
    show(settings, document, lambda: explain_domain(document, found, cpus))


@app.command("calibrate")
def calibrate(
    context: typer.Context,
    *,
    is_idle: Annotated[
        bool,
        typer.Option("--idle", help="Measure the static power; the host must be idle."),
    ] = False,
    is_steps: Annotated[
        bool,
        typer.Option(
            "--steps",
            help="Measure the power of busy cores at each step, on free CPUs.",
        ),
    ] = False,
    seconds: Annotated[
        float,
        typer.Option(
            "--seconds", min=1.0, max=600.0, help="Duration of a measurement."
        ),
    ] = 10.0,
    output: OutputOption = None,
) -> None:
    """Measure static power and power by frequency on this host.

    With --idle, all CPUs must be idle, as after booting, before domains are started.
    With --steps, CPUs that no vCPU is pinned to are kept busy at some of their steps,
    one after the other. The results replace the published figures of the processor's
    class, and are kept for these processors.
    """
    # Processes and clocks, which no other command needs.
    from cli.commands.energy_calibration import measure_static, measure_steps

    if not (is_idle or is_steps):
        raise UsageError("nothing to measure: expected --idle, --steps or both")
    settings = settings_of(context, output)
    with connect(settings, is_changing=True) as client:
        static = measure_static(client, seconds) if is_idle else []
        curve = measure_steps(client, seconds) if is_steps else []
        document, cpus = client.calibrate(static, curve), client.cpus()["cpus"]
    if settings.output is Output.JSON:
        print_json(document)
        return
    for found in static:
        watts = format_watts(found["watts"])
        echo(f"package {found['package']}: static power {watts}")
    for point in curve:
        watts = format_watts(point["watts"], digits=2)
        echo(f"{find_step_name(point['khz'], cpus)}: {watts} per core")
