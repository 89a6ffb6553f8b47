# SPDX-License-Identifier: Apache-2.0
"""The tree of all commands, for tests that iterate over it."""

from __future__ import annotations

import inspect
import shlex
from typing import TYPE_CHECKING, Any

import typer
from typer.testing import CliRunner

from cli.app import app

if TYPE_CHECKING:
    from collections.abc import Iterator


def new_runner(**settings: Any) -> CliRunner:
    """Return what runs the command in this process, with standard error apart."""
    if "mix_stderr" in inspect.signature(CliRunner).parameters:  # click before 8.2
        settings["mix_stderr"] = False
    return CliRunner(**settings)


def walk(
    group: Any = None, parent: Any = None, *, name: str = "vmpower"
) -> Iterator[Any]:
    """Yield the context of each command and group; `command_path` is its name."""
    command: Any = group or typer.main.get_command(app)
    settings = command.context_settings
    context = typer.Context(command, info_name=name, parent=parent, **settings)
    yield context
    if hasattr(command, "list_commands"):
        for child in command.list_commands(context):
            yield from walk(command.get_command(context, child), context, name=child)


def parse(line: str) -> Any:
    """Parse a command line without running it; return the context of its command."""
    name, *words = shlex.split(line)
    command: Any = typer.main.get_command(app)
    context = command.make_context(name, words)
    while hasattr(command, "list_commands"):
        protected: Any = (
            context._protected_args
            if hasattr(context, "_protected_args")
            else context.protected_args  # click before 8.2
        )
        words = [*protected, *context.args]
        name, command, words = command.resolve_command(context, words)
        context = command.make_context(name, words, parent=context)
    return context
