# SPDX-License-Identifier: Apache-2.0
"""`vmpower report`: what domains did over hours, days and weeks."""

import socket
import sys
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from cli.commands.moments import MOMENT_FORMATS, parse_moment
from cli.completion import candidates
from cli.framework.failures import as_usage_error
from cli.framework.group import new_app
from cli.framework.session import connect, write_sheets
from cli.framework.settings import Output, settings_of
from cli.output.echo import print_json
from cli.report.figures import By, align, build_report
from cli.report.tables import build_sheets, format_csv
from orchestrator.control.client import ControlClient
from orchestrator.control.documents import History
from orchestrator.errors import ConfigError

app = new_app()


class ReportOutput(StrEnum):
    """The format of a report."""

    TABLE = "table"
    JSON = "json"
    CSV = "csv"


@app.command()
def report(  # noqa: PLR0913 - each parameter is an option of the command
    context: typer.Context,
    domains: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[DOMAIN]...",
            help="Only these domains: name, UUID or ID.",
            autocompletion=candidates.domains,
            show_default=False,
        ),
    ] = None,
    *,
    since: Annotated[
        str,
        typer.Option(
            "--since",
            metavar="TIME",
            help=f"Beginning of the period: {MOMENT_FORMATS}.",
        ),
    ] = "24h",
    until: Annotated[
        str,
        typer.Option(
            "--until",
            metavar="TIME",
            help="End of the period; the default is now.",
            show_default=False,
        ),
    ] = "",
    by: Annotated[
        By, typer.Option("--by", help="What each row shows; the times are local.")
    ] = By.DOMAIN,
    is_what_if: Annotated[
        bool,
        typer.Option(
            "--what-if",
            help="Count every request as if it had been granted, for mode observe.",
        ),
    ] = False,
    svg: Annotated[
        Path | None,
        typer.Option("--svg", metavar="FILE", help="Write charts to an SVG file."),
    ] = None,
    html: Annotated[
        Path | None,
        typer.Option(
            "--html", metavar="FILE", help="Write a page with charts to an HTML file."
        ),
    ] = None,
    output: Annotated[
        ReportOutput | None,
        typer.Option("--output", "-o", help="Output format.", show_default=False),
    ] = None,
) -> None:
    """Show what domains used, saved and were refused.

    vmpowerd keeps its history for weeks, also of domains that are gone: by the minute
    for two days, then by the hour.

    Saved is what the vCPUs would have drawn more at their highest permitted frequency.
    With --what-if, it is what they would have saved if every request had been granted:
    what a host or domain in mode observe would save.
    """
    settings = settings_of(context)
    with as_usage_error():
        begin, end = _period(since, until, by)
    with connect(settings) as client:
        history = _read(
            client,
            begin,
            end,
            by.step_s,
            domains or [],
            is_per_domain=by is By.DOMAIN,
        )
        document = build_report(history, by, is_what_if=is_what_if)
        if svg or html:
            _draw(client, begin, end, domains or [], svg, html, is_what_if=is_what_if)
            return
    if output is ReportOutput.CSV:
        sys.stdout.write(format_csv(document))
    elif output is ReportOutput.JSON or (
        output is None and settings.output is Output.JSON
    ):
        print_json(document)
    else:
        write_sheets(settings, build_sheets(document, None))


def _period(since: str, until: str, by: By) -> tuple[datetime, datetime]:
    """Return the beginning and the end, which differ.

    Raises:
        ConfigError: a time is invalid, or the end is not after the beginning.
    """
    now = datetime.now(UTC).astimezone()
    end = datetime.fromisoformat(parse_moment(until, now) or now.isoformat())
    begin = by.align(datetime.fromisoformat(parse_moment(since, now)))
    if begin >= end:
        raise ConfigError(f"invalid period: {begin:%c} is not before {end:%c}")
    return begin, end


def _read(
    client: ControlClient,
    begin: datetime,
    end: datetime,
    step_s: int,
    domains: list[str],
    *,
    is_per_domain: bool,
) -> History:
    """Read the history of some domains, or of all: each, or their sums."""
    found = [
        client.history(
            since=begin.isoformat(),
            until=end.isoformat(),
            step=step_s,
            domain=domain,
            per_domain=is_per_domain,
        )
        for domain in domains or [""]
    ]
    parts = {(it["part"], it["uuid"]): it for one in found for it in one["domains"]}
    return {**found[0], "domains": list(parts.values())}


def _draw(  # noqa: PLR0913 - hands over what the command was given
    client: ControlClient,
    begin: datetime,
    end: datetime,
    domains: list[str],
    svg: Path | None,
    html: Path | None,
    *,
    is_what_if: bool,
) -> None:
    from cli.output.chart import stack
    from cli.report.charts import choose_step_s, draw_charts
    from cli.report.page import build_page

    whole = _read(client, begin, end, 0, domains, is_per_domain=True)
    document = build_report(whole, By.DOMAIN, is_what_if=is_what_if)
    step_s = choose_step_s(end - begin, datetime.now(UTC) - begin)
    # An hour that the daemon keeps as a whole is then in one part.
    aligned = align(begin, step_s)
    parts = _read(client, aligned, end, step_s, domains, is_per_domain=False)
    charts = draw_charts(document, parts, None)
    host = socket.gethostname()
    if svg:
        _write(svg, stack(charts, f"CPU frequencies of {host}"))
    if html:
        _write(html, build_page(document, charts, host, None))


def _write(path: Path, text: str) -> None:
    try:
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise ConfigError(f"cannot write {path}: {error.strerror}") from error
