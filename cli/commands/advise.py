# SPDX-License-Identifier: Apache-2.0
"""`vmpower advise`: what would save energy, from the history."""

from datetime import UTC, datetime
from typing import Annotated

import typer

from cli.commands.arguments import OnlyDomainArgument
from cli.commands.moments import MOMENT_FORMATS, parse_moment
from cli.framework.failures import as_usage_error
from cli.framework.group import new_app
from cli.framework.session import connect, show
from cli.framework.settings import OutputOption, settings_of
from cli.report.advice import build_advice
from cli.report.tables import build_advice_sheets

app = new_app()


@app.command()
def advise(
    context: typer.Context,
    domain: OnlyDomainArgument = None,
    *,
    since: Annotated[
        str,
        typer.Option(
            "--since", metavar="TIME", help=f"Use the history from: {MOMENT_FORMATS}."
        ),
    ] = "7d",
    output: OutputOption = None,
) -> None:
    """Suggest commands that would save energy.

    Nothing is changed. Savings are expectations for a day like those in the history;
    without a meter, or where the need is unknown, they are modelled. What the network
    interfaces dropped is not known to vmpowerd: check it before and after a change.
    """
    settings = settings_of(context, output)
    with as_usage_error():
        now = datetime.now(UTC).astimezone()
        begin = parse_moment(since, now)
    with connect(settings) as client:
        history = client.history(since=begin, domain=domain or "")
        status = client.status()
    document = build_advice(history, status["domains"], status["cpus"])
    show(settings, document, lambda: build_advice_sheets(document))
