# SPDX-License-Identifier: Apache-2.0
"""`vmpower cpu`: the frequencies of host CPUs."""

from collections.abc import Callable
from typing import Annotated

import typer

from cli.completion import candidates
from cli.framework.failures import UsageError, as_usage_error
from cli.framework.group import new_app
from cli.framework.levels import khz_for, parse_frequency
from cli.framework.session import Answer, connect, show
from cli.framework.settings import Output, OutputOption, Settings, settings_of
from cli.framework.watch import WatchableCommand, WatchOption, show_query
from cli.output.echo import echo, print_json
from cli.output.tables.cpus import (
    build_clock_group,
    build_cpus,
    describe_override,
    describe_release,
    group_cpus,
    name_group,
)
from orchestrator.control.client import ControlClient
from orchestrator.control.documents import Cpu, CpuList, Domain
from orchestrator.values.cpuset import parse_cpulist

app = new_app(doc="Host CPUs and their frequencies: list, show, set.")

_Cpus = Annotated[
    str,
    typer.Argument(
        help="CPUs such as 2-5,8, or 'all'.",
        metavar="CPUS",
        autocompletion=candidates.cpus_or_all,
    ),
]


@app.command("list", cls=WatchableCommand)
def list_cpus(
    context: typer.Context, watch_s: WatchOption = None, output: OutputOption = None
) -> None:
    """List CPUs by clock group.

    The CPUs of a clock group share one frequency.
    """

    def query(client: ControlClient) -> Answer:
        status = client.status()
        document = CpuList(cpus=status["cpus"], unmanaged_cpus=status["unmanaged_cpus"])
        return Answer(document, lambda: build_cpus(document, status["domains"]))

    show_query(settings_of(context, output), query, watch_s)


@app.command("show")
def show_cpus(context: typer.Context, cpus: _Cpus, output: OutputOption = None) -> None:
    """Show CPUs with their clock groups and frequency steps."""
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
def set_frequency(
    context: typer.Context,
    cpus: _Cpus,
    frequency: Annotated[
        str,
        typer.Argument(
            help="Frequency such as 2.3GHz, 2300MHz or 2300000 (kHz); or min, max,"
            " nominal, turbo, up, down.",
            metavar="FREQ",
            autocompletion=candidates.frequencies,
        ),
    ],
    output: OutputOption = None,
) -> None:
    """Fix the frequency of CPUs, overriding guests and policies.

    The override lasts until 'vmpower cpu release' or the next boot, also over restarts
    of vmpowerd. It applies to whole clock groups, including CPUs that are not named.

    min and max are the lowest and the highest step, nominal is the highest without
    turbo, and turbo the one above. up and down are one step from the override, else
    from the grant or the current frequency. The bounds of the host and the limits of
    the kernel apply to all of them.
    """
    with as_usage_error():
        wanted = parse_frequency(frequency)
    _change(
        settings_of(context, output),
        cpus,
        lambda client, cpu: client.override(cpu["pcpu"], khz_for(wanted, cpu)),
        lambda before, group: describe_override(group, khz_for(wanted, before)),
        check=lambda cpu: khz_for(wanted, cpu),
    )


@app.command("release")
def release(context: typer.Context, cpus: _Cpus, output: OutputOption = None) -> None:
    """Release CPUs from 'vmpower cpu set'.

    Guests and policies then decide again. If none of them has a vote, the governor and
    limits that the CPUs had before are restored at once.
    """
    domains: list[Domain] = []

    def change(client: ControlClient, cpu: Cpu) -> Cpu:
        released = client.release(cpu["pcpu"])
        domains[:] = client.domains()["domains"]
        return released

    _change(
        settings_of(context, output),
        cpus,
        change,
        lambda _, group: describe_release(group, domains),
    )


@app.command("retake")
def retake(context: typer.Context, cpus: _Cpus, output: OutputOption = None) -> None:
    """Take CPUs back from another program.

    If another program changes the governor or the frequency of CPUs that vmpowerd has
    taken, it leaves them as they are and refuses the requests of guests (power.drift in
    vmpower.toml). 'vmpower status' shows such CPUs.
    """
    _change(
        settings_of(context, output),
        cpus,
        lambda client, cpu: client.retake(cpu["pcpu"]),
        lambda before, group: (
            f"{name_group(group)}: "
            + ("retaken" if before["drift"] else "not changed by another program")
        ),
    )


def _change(
    settings: Settings,
    cpus: str,
    change: Callable[[ControlClient, Cpu], Cpu],
    describe: Callable[[Cpu, list[Cpu]], str],
    *,
    check: Callable[[Cpu], object] | None = None,
) -> None:
    """Change complete clock groups, and print what became of them.

    Args:
        settings: of this command.
        cpus: the CPUs, as text.
        change: changes the clock group of a CPU.
        describe: describes in one line a CPU of a group before, and the group after.
        check: raises if a group cannot be changed.
    """
    changed: list[tuple[Cpu, list[Cpu]]] = []
    with connect(settings, is_changing=True) as client:
        # Find and check all of them before changing the first one.
        groups = _select(client, cpus)
        if check is not None:
            for group in groups:
                check(group[0])
        for group in groups:
            answer = change(client, group[0])
            after: list[Cpu] = [{**answer, "pcpu": cpu["pcpu"]} for cpu in group]
            changed.append((group[0], after))
    if settings.output is Output.JSON:
        print_json({"cpus": [cpu for _, group in changed for cpu in group]})
        return
    for before, group in changed:
        echo(describe(before, group))


def _select(client: ControlClient, text: str) -> list[list[Cpu]]:
    """Return the complete clock groups of the CPUs in a list."""
    cpus = client.cpus()["cpus"]
    known = {cpu["pcpu"]: cpu["clock_group"] for cpu in cpus}
    with as_usage_error():
        wanted = set(known) if text == "all" else set(parse_cpulist(text))
    if not wanted:
        raise UsageError(f"invalid CPU list '{text}': expected CPUs such as 2-5,8")
    for unknown in sorted(wanted - set(known)):
        client.cpu(unknown)  # raises the reason
    numbers = {known[pcpu] for pcpu in wanted if pcpu in known}
    return [group for group in group_cpus(cpus) if group[0]["clock_group"] in numbers]
