"""`vmpower cpu`: the clocks themselves."""

from typing import Annotated

import typer

from cli.completion import words
from cli.framework.answer import Answer
from cli.framework.failures import UsageError, usage
from cli.framework.group import new_app
from cli.framework.session import connect, show, write_json
from cli.framework.settings import Output, OutputOption, settings_of
from cli.framework.watch import WatchableCommand, WatchOption, present
from cli.output.echo import say
from cli.output.tables.cpus import build_clock_group, build_cpus, group_cpus, tell_clock
from orchestrator.control.client import ControlClient
from orchestrator.control.documents import Cpu, CpuList
from orchestrator.values.cpuset import parse_cpulist
from orchestrator.values.units import parse_khz

app = new_app(doc="CPUs of the host and their clocks: list, show, set, release.")

_Cpus = Annotated[
    str,
    typer.Argument(
        help="CPUs as in 2-5,8, or 'all'.",
        metavar="CPUS",
        autocompletion=words.cpus_or_all,
    ),
]


@app.command("list", cls=WatchableCommand)
def list_cpus(
    context: typer.Context, watch_s: WatchOption = None, output: OutputOption = None
) -> None:
    """List CPUs by the clock that they share."""

    def ask(client: ControlClient) -> Answer:
        status = client.status()
        document = CpuList(cpus=status["cpus"], unmanaged_cpus=status["unmanaged_cpus"])
        return Answer(document, lambda: build_cpus(document, status["domains"]))

    present(settings_of(context, output), ask, watch_s)


@app.command("show")
def show_cpus(context: typer.Context, cpus: _Cpus, output: OutputOption = None) -> None:
    """Show CPUs and the steps of their clock, with those that share it."""
    settings = settings_of(context, output)
    with connect(settings) as client:
        groups = _select(client, cpus)
        domains = client.domains()["domains"]
    show(
        settings,
        {"cpus": [cpu for group in groups for cpu in group]},
        lambda: tuple(build_clock_group(group, domains) for group in groups),
    )


@app.command("set")
def set_clock(
    context: typer.Context,
    cpus: _Cpus,
    frequency: Annotated[
        str,
        typer.Argument(
            help="As in 2.3GHz, 2300MHz or 2300000.",
            metavar="FREQ",
            autocompletion=words.clocks,
        ),
    ],
    output: OutputOption = None,
) -> None:
    """Fix the clock of CPUs until it is released.

    Whatever their guests ask. A clock belongs to all CPUs of a clock group: those
    that share it change with the ones that you name.
    """
    with usage():
        khz = parse_khz(frequency)
    _change(context, cpus, output, khz)


@app.command("release")
def release_clock(
    context: typer.Context, cpus: _Cpus, output: OutputOption = None
) -> None:
    """Give the clock of CPUs back to their guests."""
    _change(context, cpus, output, None)


def _change(
    context: typer.Context, cpus: str, output: Output | None, khz: int | None
) -> None:
    settings = settings_of(context, output)
    changed: list[list[Cpu]] = []
    with connect(settings, is_changing=True) as client:
        # All of them are looked up before the first one is changed.
        for group in _select(client, cpus):
            pcpu = group[0]["pcpu"]
            answer = client.release(pcpu) if khz is None else client.override(pcpu, khz)
            changed.append([{**answer, "pcpu": cpu["pcpu"]} for cpu in group])
    if settings.output is Output.JSON:
        write_json({"cpus": [cpu for group in changed for cpu in group]})
        return
    for group in changed:
        say(tell_clock(group, khz))


def _select(client: ControlClient, text: str) -> list[list[Cpu]]:
    """Return the clock groups of the CPUs that a list names, complete."""
    cpus = client.cpus()["cpus"]
    known = {cpu["pcpu"]: cpu["clock_group"] for cpu in cpus}
    with usage():
        wanted = set(known) if text == "all" else set(parse_cpulist(text))
    if not wanted:
        raise UsageError(f"'{text}' names no CPU", hint="write 2-5,8")
    for unknown in sorted(wanted - set(known)):
        client.cpu(unknown)  # the daemon knows why it is not among them
    numbers = {known[pcpu] for pcpu in wanted if pcpu in known}
    return [group for group in group_cpus(cpus) if group[0]["clock_group"] in numbers]
