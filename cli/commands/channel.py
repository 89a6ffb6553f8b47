# SPDX-License-Identifier: Apache-2.0
"""`vmpower channel`: the channels that carry guests' requests."""

from typing import Annotated

import typer

from cli.commands.arguments import DomainArgument, OnlyDomainArgument
from cli.completion import candidates
from cli.framework.failures import UsageError
from cli.framework.group import new_app
from cli.framework.session import Answer, connect
from cli.framework.settings import Output, OutputOption, settings_of
from cli.framework.watch import WatchableCommand, WatchOption, show_query
from cli.output.echo import echo, print_json
from cli.output.tables.channels import build_channels
from orchestrator.control.client import ControlClient
from orchestrator.control.documents import ChannelList
from orchestrator.errors import ControlError

app = new_app(doc="Channels that carry guests' requests: list, enable, disable.")

_Number = Annotated[
    str,
    typer.Argument(
        help="Channel number, or 'all'.",
        metavar="NUMBER|all",
        autocompletion=candidates.channels,
    ),
]


@app.command("list", cls=WatchableCommand)
def list_channels(
    context: typer.Context,
    domain: OnlyDomainArgument = None,
    watch_s: WatchOption = None,
    output: OutputOption = None,
) -> None:
    """List channels, their requests and why some were refused.

    A request is answered with ACK or NACK. Dropped and Late count answers that were not
    delivered: the guest was not reading, or had already timed out. Errors counts
    malformed packets. Unread counts requests from old guests, which read no answers.
    Throttled counts pauses of guests that sent more than their budget.
    Generation is the size of the guest's packets in bytes.

    Channels of kind p-states carry the requests of the guest's own cpufreq driver. They
    have no answers: NACK counts the requests that were refused.
    """

    def query(client: ControlClient) -> Answer:
        only = client.domain(domain)["uuid"] if domain is not None else None
        channels = client.channels()["channels"]
        document = ChannelList(
            channels=[c for c in channels if only in (None, c["uuid"])]
        )
        return Answer(document, lambda: build_channels(document))

    show_query(settings_of(context, output), query, watch_s)


@app.command("enable")
def enable(
    context: typer.Context,
    domain: DomainArgument,
    number: _Number,
    output: OutputOption = None,
) -> None:
    """Enable a channel, and end its quarantine."""
    _switch(context, (domain, number), output, is_enabled=True)


@app.command("disable")
def disable(
    context: typer.Context,
    domain: DomainArgument,
    number: _Number,
    output: OutputOption = None,
) -> None:
    """Refuse all requests on a channel, and drop its votes.

    The channel stays disabled until 'vmpower channel enable', the removal of the domain
    or the next boot of the host, also over restarts of the domain and of vmpowerd.
    """
    _switch(context, (domain, number), output, is_enabled=False)


def _switch(
    context: typer.Context,
    target: tuple[str, str],
    output: Output | None,
    *,
    is_enabled: bool,
) -> None:
    settings = settings_of(context, output)
    domain, number = target
    with connect(settings, is_changing=True) as client:
        done = [
            client.switch_channel(domain, each, enabled=is_enabled)
            for each in _numbers(client, domain, number)
        ]
    if settings.output is Output.JSON:
        print_json({"channels": done})
        return
    for channel in done:
        echo(f"channel {channel['number']} of {domain}: {channel['state']}")


def _numbers(client: ControlClient, domain: str, number: str) -> list[int]:
    if number.isdecimal():
        return [int(number)]
    if number != "all":
        raise UsageError(f"invalid channel '{number}': expected a number or 'all'")
    found = [channel["number"] for channel in client.domain(domain)["channels"]]
    if not found:
        raise ControlError(f"domain '{domain}' has no channels", status=404)
    return found
