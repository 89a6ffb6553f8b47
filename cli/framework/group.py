"""Groups of commands: lazily imported, and with vmpower's own way to fail."""

import difflib
import importlib
import os
import sys
from collections.abc import Callable
from typing import Any, ClassVar, NoReturn

import typer
from typer._click.exceptions import (
    ClickException,
    NoArgsIsHelpError,
    NoSuchOption,
    UsageError,
)
from typer._completion_classes import completion_init
from typer.core import TyperCommand, TyperGroup
from typer.models import CommandFunctionType

from cli.framework.failures import ExitStatus, status_of, tell
from cli.framework.help import HelpfulCommand, HelpfulGroup
from orchestrator.errors import VmpowerError

COMPLETION_VARIABLE = "_VMPOWER_COMPLETE"
"""Set by a shell that asks for completions; the name is typer's for our program."""
_GLOBAL_OPTIONS = ("--run-dir", "--socket", "--connect", "--plain")


class LazyGroup(HelpfulGroup):
    """A group that imports a command's module when the command is used.

    `vmpower status` must not pay for what only `vmpower domain add` needs.
    """

    modules: ClassVar[dict[str, str]] = {}
    """Where each command is: `module` with a `typer.Typer` named `app`, or
    `module:function`."""

    def list_commands(self, ctx: Any) -> list[str]:  # noqa: ANN401 - typer's private
        """Name all commands, those of the table last."""
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
        """Find the command that is meant; a typo is told the nearest one."""
        try:
            return super().resolve_command(ctx, args)
        except UsageError as error:
            # typer looks only among the commands that are imported already.
            near = difflib.get_close_matches(args[0], self.list_commands(ctx), n=1)
            if near and "Did you mean" not in error.message:
                word = error.message.rstrip(".")
                error.message = f"{word}. Did you mean '{near[0]}'?"
            raise


class _App(typer.Typer):
    """Commands of an app help as ours do, unless they say otherwise."""

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
    """Make a command or a group, without what costs 20 to 100 ms at every start."""
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
    """The root: all commands, and one place where failures become exit statuses."""

    modules: ClassVar[dict[str, str]] = {
        "status": "cli.commands.status",
        "top": "cli.top.command",
        "domain": "cli.commands.domain",
        "channel": "cli.commands.channel",
        "cpu": "cli.commands.cpu",
        "policy": "cli.commands.policy",
        "apply": "cli.commands.apply",
        "template": "cli.commands.template",
        "events": "cli.commands.events",
        "doctor": "cli.doctor.command",
        "restore": "cli.commands.restore",
        "completion": "cli.completion.command",
        "simulate": "cli.commands.simulate",
    }

    def main(self, *args: Any, **extra: Any) -> NoReturn:  # noqa: ANN401 - typer's
        """Run the command line and exit."""
        extra["standalone_mode"] = False
        if os.environ.get(COMPLETION_VARIABLE):
            completion_init()  # `add_completion` would do so, at each start
        try:
            status = super().main(*args, **extra)
        except VmpowerError as error:
            tell(str(error), error.hint)
            sys.exit(status_of(error))
        except typer.Abort:
            tell("aborted")
            sys.exit(ExitStatus.FAILED)
        except ClickException as error:
            _tell_usage(error)
            sys.exit(ExitStatus.USAGE)
        # typer gives back the status of an Exit, or what the command returned.
        sys.exit(status if isinstance(status, int) else 0)


def _tell_usage(error: ClickException) -> None:
    message = error.format_message()
    context = getattr(error, "ctx", None)
    if isinstance(error, NoArgsIsHelpError):
        sys.stderr.write(f"{message}\n")
        return
    hint = f"see '{context.command_path if context else 'vmpower'} --help'"
    if isinstance(error, NoSuchOption) and error.option_name in _GLOBAL_OPTIONS:
        hint = f"it stands before the command: 'vmpower {error.option_name} ...'"
    tell(message[:1].lower() + message[1:].rstrip("."), hint)
