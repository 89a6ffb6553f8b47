# SPDX-License-Identifier: Apache-2.0
"""Command groups: imported lazily, with vmpower's error messages."""

import difflib
import functools
import importlib
import os
import sys
from collections.abc import Callable
from typing import Any, ClassVar, NoReturn

import typer
from typer.core import TyperCommand, TyperGroup
from typer.models import CommandFunctionType

from cli.framework.failures import ExitStatus, status_of
from cli.framework.help import HelpfulCommand, HelpfulGroup
from cli.framework.settings import is_json_requested
from cli.framework.typer_compat import (
    ClickException,
    NoSuchOption,
    UsageError,
    completion_init,
)
from cli.output.echo import echo_error, print_json_error
from orchestrator.errors import VmpowerError

COMPLETION_VARIABLE = "_VMPOWER_COMPLETE"
"""Set by a shell that requests completions; typer derives the name from ours."""
_GLOBAL_OPTIONS = ("--run-dir", "--socket", "--connect", "--plain")


class LazyGroup(HelpfulGroup):
    """A group that imports the module of a command when the command is used.

    Each command then pays only for its own imports.
    """

    modules: ClassVar[dict[str, str]] = {}
    """The module of each command, with a `typer.Typer` named `app`; or
    `module:function`."""

    def list_commands(self, ctx: Any) -> list[str]:  # noqa: ANN401 - typer's private
        """List all commands, those in `modules` last."""
        return [*super().list_commands(ctx), *self.modules]

    def get_command(self, ctx: Any, cmd_name: str) -> Any:  # noqa: ANN401 - the same
        """Import a command."""
        if cmd_name not in self.modules:
            return super().get_command(ctx, cmd_name)
        path, _, function = self.modules[cmd_name].partition(":")
        module = importlib.import_module(path)
        command = typer.main.get_command(
            _app_of(getattr(module, function)) if function else module.app
        )
        command.name = cmd_name
        return command

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:  # noqa: ANN401
        """Find the command; for a typo, suggest the nearest one."""
        try:
            return super().resolve_command(ctx, args)
        except UsageError as error:
            # typer suggests only commands that are already imported.
            near = difflib.get_close_matches(args[0], self.list_commands(ctx), n=1)
            if near and "Did you mean" not in error.message:
                message = error.message.rstrip(".")
                error.message = f"{message}. Did you mean '{near[0]}'?"
            raise


class _App(typer.Typer):
    """An app whose commands have our `--help` by default."""

    def command(
        self,
        name: str | None = None,
        *,
        cls: type[TyperCommand] | None = HelpfulCommand,
        **extra: Any,  # noqa: ANN401 - whatever typer takes
    ) -> Callable[[CommandFunctionType], CommandFunctionType]:
        """Register a command."""
        return super().command(name, cls=cls, **extra)


def new_app(
    *,
    name: str | None = None,
    doc: str | None = None,
    cls: type[TyperGroup] = HelpfulGroup,
) -> typer.Typer:
    """Make a command or a group, without the parts of typer that start slowly."""
    return _App(
        name=name,
        help=doc,
        cls=cls,
        add_completion=False,
        rich_markup_mode=None,
        pretty_exceptions_enable=False,
        no_args_is_help=True,
        context_settings={"help_option_names": ["-h", "--help"]},
    )


def _app_of(function: Callable[..., object]) -> typer.Typer:
    app = new_app()
    app.command()(function)
    return app


class VmpowerGroup(LazyGroup):
    """The root: all commands, and where errors become messages and exit statuses."""

    modules: ClassVar[dict[str, str]] = {
        "status": "cli.commands.status",
        "top": "cli.top.command",
        "domain": "cli.commands.domain",
        "channel": "cli.commands.channel",
        "cpu": "cli.commands.cpu",
        "policy": "cli.commands.policy",
        "energy": "cli.commands.energy",
        "apply": "cli.commands.apply",
        "template": "cli.commands.template",
        "events": "cli.commands.events",
        "report": "cli.commands.report",
        "advise": "cli.commands.advise",
        "doctor": "cli.doctor.command",
        "restore": "cli.commands.restore",
        "completion": "cli.completion.command",
        "tuned-profile": "cli.commands.tuned_profile",
        "simulate": "cli.commands.simulate",
        "try": "cli.trial.command",
    }

    def main(self, *args: Any, **extra: Any) -> NoReturn:  # noqa: ANN401 - typer's
        """Run the command line and exit."""
        extra["standalone_mode"] = False
        words = extra.get("args") or (args[0] if args else None) or sys.argv[1:]
        fail = functools.partial(_exit, is_json=is_json_requested(words))
        if os.environ.get(COMPLETION_VARIABLE):
            completion_init()  # `add_completion` would do so, at each start
        try:
            status = super().main(*args, **extra)
        except VmpowerError as error:
            fail(status_of(error), str(error), error.hint)
        except typer.Abort:
            fail(ExitStatus.FAILED, "aborted", "")
        except ClickException as error:
            fail(ExitStatus.USAGE, *_describe_usage_error(error))
        # typer returns the status of an Exit, or the command's return value.
        sys.exit(status if isinstance(status, int) else 0)


def _exit(status: ExitStatus, message: str, hint: str, *, is_json: bool) -> NoReturn:
    """Write an error and exit."""
    if is_json:
        print_json_error(message, hint, status)
    else:
        echo_error(message, hint)
    sys.exit(status)


def _describe_usage_error(error: ClickException) -> tuple[str, str]:
    """Return the message and a hint."""
    message = error.format_message()
    context = getattr(error, "ctx", None)
    hint = f"see '{context.command_path if context else 'vmpower'} --help'"
    if isinstance(error, NoSuchOption) and error.option_name in _GLOBAL_OPTIONS:
        hint = f"put it before the command: 'vmpower {error.option_name} ...'"
    return message[:1].lower() + message[1:].rstrip("."), hint
