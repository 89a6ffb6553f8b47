# SPDX-License-Identifier: Apache-2.0
"""`--watch`: the same tables, refreshed until the user quits."""

import sys
import threading
from typing import Annotated, Any, TypeAlias

import typer

from cli.framework.help import HelpfulCommand
from cli.framework.session import (
    Answer,
    Query,
    connect,
    is_styled,
    show,
    write_sheets,
)
from cli.framework.settings import Output, Settings
from cli.output.echo import print_json_line

_DEFAULT_S = "2"
_NAMES = ("--watch", "-w")

WatchOption: TypeAlias = Annotated[
    float | None,
    typer.Option(
        *_NAMES,
        min=0.1,
        metavar="[SECONDS]",
        help=f"Refresh every SECONDS (default {_DEFAULT_S}).",
    ),
]
"""The option of commands whose class is `WatchableCommand`."""


class WatchableCommand(HelpfulCommand):
    """A command whose `--watch` may be given without a number.

    typer does not support options with an optional value.
    """

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:  # noqa: ANN401 - typer's private
        """Insert the default interval after a `--watch` without one."""
        complete = list[str]()
        for word, following in zip(args, [*args, ""][1:], strict=True):
            complete.append(word)
            if word in _NAMES and not _is_number(following):
                complete.append(_DEFAULT_S)
        return super().parse_args(ctx, complete)


def show_query(settings: Settings, query: Query, watch_s: float | None) -> None:
    """Show the daemon's answer once, or every `watch_s` seconds.

    Raises:
        Exit: the user quit; has the exit status.
    """
    if watch_s is not None and _has_screen(settings):
        # rich costs 25 ms and more; only a screen needs it.
        from cli.framework.watch_screen import watch

        raise typer.Exit(watch(settings, query, watch_s))
    never = threading.Event()
    with connect(settings) as client:
        answer = query(client)
        if watch_s is None:
            show(settings, answer.document, answer.build)
            return
        while True:
            _append(settings, answer)
            never.wait(watch_s)
            answer = query(client)


def _append(settings: Settings, answer: Answer) -> None:
    """Write one of many answers: a line of JSON, or a table and an empty line."""
    if settings.output is Output.JSON:
        print_json_line(answer.document)
    else:
        write_sheets(settings, answer.build())
        sys.stdout.write("\n")
        sys.stdout.flush()


def _has_screen(settings: Settings) -> bool:
    is_interactive = sys.stdin.isatty() and sys.stdout.isatty()
    is_table = settings.output is Output.TABLE
    return is_interactive and is_table and is_styled(settings)


def _is_number(word: str) -> bool:
    return word.replace(".", "", 1).isdecimal()
