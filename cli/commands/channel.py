"""`vmpower channel`: the guests' ways to ask."""

from typing import Annotated

import typer

from cli.commands.arguments import DomainArgument, OnlyDomainArgument
from cli.completion import words
from cli.framework.answer import Answer
from cli.framework.failures import UsageError
from cli.framework.group import new_app
from cli.framework.session import connect, write_json
from cli.framework.settings import Output, OutputOption, settings_of
from cli.framework.watch import WatchableCommand, WatchOption, present
from cli.output.echo import say
from cli.output.tables.channels import build_channels
from orchestrator.control.client import ControlClient
from orchestrator.control.documents import ChannelList
from orchestrator.errors import ControlError

app = new_app(doc="Channels, over which guests ask: list, enable, disable.")

_Number = Annotated[
    str,
    typer.Argument(
        help="Number of the channel, or 'all'.",
        metavar="NUMBER|all",
        autocompletion=words.channels,
    ),
]


@app.command("list", cls=WatchableCommand)
def list_channels(
    context: typer.Context,
    domain: OnlyDomainArgument = None,
    watch_s: WatchOption = None,
    output: OutputOption = None,
) -> None:
    """List channels: what was asked over them, and why it was refused.

    A request is answered ACK or NACK. Dropped and late are answers that could not be
    given: the guest does not read, or had given up. Errors are bytes that were no
    packet. Unread are requests of guests so old that they read no answers; the
    generation is the size of their packets.
    """

    def ask(client: ControlClient) -> Answer:
        wanted = client.domain(domain)["uuid"] if domain is not None else None
        channels = client.channels()["channels"]
        document = ChannelList(
            channels=[c for c in channels if wanted in (None, c["uuid"])]
        )
        return Answer(document, lambda: build_channels(document))

    present(settings_of(context, output), ask, watch_s)


@app.command("enable")
def enable(
    context: typer.Context,
    domain: DomainArgument,
    number: _Number,
    output: OutputOption = None,
) -> None:
    """Let a channel take part again."""
    _switch(context, (domain, number), output, is_enabled=True)


@app.command("disable")
def disable(
    context: typer.Context,
    domain: DomainArgument,
    number: _Number,
    output: OutputOption = None,
) -> None:
    """Refuse what a channel asks, and drop its vote."""
    _switch(context, (domain, number), output, is_enabled=False)


def _switch(
    context: typer.Context,
    which: tuple[str, str],
    output: Output | None,
    *,
    is_enabled: bool,
) -> None:
    settings = settings_of(context, output)
    domain, number = which
    with connect(settings, is_changing=True) as client:
        done = [
            client.switch_channel(domain, each, enabled=is_enabled)
            for each in _numbers(client, domain, number)
        ]
    if settings.output is Output.JSON:
        write_json({"channels": done})
        return
    for channel in done:
        say(f"channel {channel['number']} of {domain}: {channel['state']}")


def _numbers(client: ControlClient, domain: str, number: str) -> list[int]:
    if number.isdecimal():
        return [int(number)]
    if number != "all":
        raise UsageError(f"'{number}' is no channel", hint="write a number or 'all'")
    found = [channel["number"] for channel in client.domain(domain)["channels"]]
    if not found:
        raise ControlError(f"domain '{domain}' has no channels", status=404)
    return found
