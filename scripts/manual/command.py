# SPDX-License-Identifier: Apache-2.0
"""The sections about the command `vmpower`, from its `--help`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import typer

from cli.app import app
from cli.framework.examples import EXAMPLES
from cli.framework.help import OTHERS, arguments, panels
from scripts.manual import roff

if TYPE_CHECKING:
    from collections.abc import Iterator

_HELP = "-h, --help"


def command_sections() -> list[str]:
    """Format the global options, all commands and all examples."""
    root, *others = _walk(typer.main.get_command(app), None, "vmpower")
    commands = [
        context for context in others if not hasattr(context.command, "commands")
    ]
    lines = roff.heading("OPTIONS")
    lines += roff.text("Global options are given before the command.")
    lines += _options(root)
    lines += roff.heading("COMMANDS")
    for context in commands:
        lines += _command(context)
    lines += roff.heading("EXAMPLES")
    for context in (root, *commands):
        for example in EXAMPLES.get(context.command_path, ()):
            lines += roff.text(f"{example.purpose}:")
            lines += roff.verbatim([example.line])
    return lines


def _walk(command: Any, parent: Any, name: str) -> Iterator[Any]:  # noqa: ANN401
    """Yield the context of a command and of its subcommands; the type is private."""
    settings = command.context_settings
    context = typer.Context(command, info_name=name, parent=parent, **settings)
    yield context
    if hasattr(command, "list_commands"):
        for each in command.list_commands(context):
            yield from _walk(command.get_command(context, each), context, each)


def _command(context: Any) -> list[str]:  # noqa: ANN401
    pieces = " ".join(context.command.collect_usage_pieces(context))
    lines = roff.subheading(context.command_path)
    lines += [f"{roff.bold(context.command_path)} {roff.spelling(pieces)}"]
    lines += roff.text(context.command.help or "")
    for name, help_text in arguments(context.command.get_params(context), context):
        lines += roff.item(roff.italic(name), help_text)
    lines += _options(context)
    for title, rows in context.command.sections().items():
        lines += roff.text(f"{title}:")
        for term, explanation in rows:
            lines += roff.item(roff.bold(term), explanation)
    return lines


def _options(context: Any) -> list[str]:  # noqa: ANN401
    lines: list[str] = []
    for title, rows in panels(context.command.get_params(context), context).items():
        shown = [(option, help_text) for option, help_text in rows if option != _HELP]
        if title != OTHERS:
            lines += roff.text(f"{title}:")
        for option, help_text in shown:
            lines += roff.item(roff.spelling(option), help_text)
    return lines
