"""`--watch`: the same tables again and again, until somebody has seen enough."""

import sys
import threading
from typing import Annotated, Any, TypeAlias

import typer

from cli.framework.answer import Answer, Ask
from cli.framework.help import HelpfulCommand
from cli.framework.session import (
    connect,
    is_styled,
    show,
    write_json_line,
    write_sheets,
)
from cli.framework.settings import Output, Settings

_DEFAULT_S = "2"
_NAMES = ("--watch", "-w")

WatchOption: TypeAlias = Annotated[
    float | None,
    typer.Option(
        *_NAMES,
        min=0.1,
        metavar="[SECONDS]",
        help=f"Show it again every {_DEFAULT_S} seconds, or every so many.",
    ),
]
"""The option of commands whose class is `WatchableCommand`."""


class WatchableCommand(HelpfulCommand):
    """A command whose `--watch` may stand without a number, which typer cannot."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:  # noqa: ANN401 - typer's private
        """Put in the number that was left out."""
        whole = list[str]()
        for word, following in zip(args, [*args, ""][1:], strict=True):
            whole.append(word)
            if word in _NAMES and not _is_number(following):
                whole.append(_DEFAULT_S)
        return super().parse_args(ctx, whole)


def present(settings: Settings, ask: Ask, watch_s: float | None) -> None:
    """Show what a daemon answers: once, or again and again.

    Raises:
        Exit: the person left, with the status to end with.
    """
    if watch_s is not None and _has_screen(settings):
        # rich costs 25 ms and more; only a screen needs it.
        from cli.framework.watch_screen import watch

        raise typer.Exit(watch(settings, ask, watch_s))
    never = threading.Event()
    with connect(settings) as client:
        answer = ask(client)
        if watch_s is None:
            show(settings, answer.document, answer.build)
            return
        while True:
            _append(settings, answer)
            never.wait(watch_s)
            answer = ask(client)


def _append(settings: Settings, answer: Answer) -> None:
    """Write one of many answers: JSON in one line, or a table and an empty line."""
    if settings.output is Output.JSON:
        write_json_line(answer.document)
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
