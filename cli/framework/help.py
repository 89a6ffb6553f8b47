# SPDX-License-Identifier: Apache-2.0
"""The format of `--help`: synopsis, arguments, options in panels, examples.

Without rich, which takes 60 ms to import, and so without typer's own formatting.
"""

import re
import sys
from collections.abc import Iterable
from typing import Any

import typer
from typer.core import TyperCommand, TyperGroup

from cli.framework.examples import EXAMPLES
from cli.framework.failures import ExitStatus

_METAVARS = (
    (re.compile(r"<(?:int|float)(?: range)?>|\b(?:INTEGER|FLOAT)(?: RANGE)?\b"), "N"),
    (re.compile(r"<str>"), "TEXT"),
    (re.compile(r"<path>"), "PATH"),
    (re.compile(r"<([^>]*\|[^>]*)>|(?<= )\[([^]]*\|[^]]*)\]"), r"\1\2"),
)
"""typer's metavars for types, before 0.26 and since, and those of manual pages."""
_BRACKETED = re.compile(r"^\[([^][]*)\](\.\.\.)?$")
OTHERS = "Options"
"""Title of the panel for all other options."""
_MACHINE = (
    "template vcpus memory disk cloud_init network kernel initrd cmdline console"
    " settings kind"
)
PANELS: dict[str, dict[str, str]] = {
    "vmpower domain add": {
        "Machine": _MACHINE,
        "CPUs": "pin emulator_pin numa_node sysfs_root yes",
        "Power management": "channels socket_dir low high turbo mode",
        "Action": "define start print_xml dry_run",
    }
}
"""Panels of commands with many options: title to parameter names."""


def metavar(argument: Any) -> str:  # noqa: ANN401 - typer's private
    """Format an argument for the synopsis: NAME, [NAME] or NAME..."""
    # Outer brackets are typer's; inner ones belong to the syntax of the value.
    word = _BRACKETED.sub(r"\1\2", str(argument.metavar or argument.name.upper()))
    word += "..." if argument.nargs != 1 and not word.endswith("...") else ""
    return word if argument.required else f"[{word}]"


def panels(
    parameters: Iterable[Any],
    context: Any,  # noqa: ANN401 - typer's private
) -> dict[str, list[tuple[str, str]]]:
    """Collect options as (names, help) by panel; those in no panel come last."""
    titles = PANELS.get(context.command_path, {})
    panel_of = {
        name: title for title, names in titles.items() for name in names.split()
    }
    found: dict[str, list[tuple[str, str]]] = {title: [] for title in titles}
    rest: list[tuple[str, str]] = []
    for parameter in parameters:
        record = parameter.get_help_record(context)
        if record is None or parameter.param_type_name != "option":
            continue
        title = panel_of.get(parameter.name)
        rows = found[title] if title else rest
        rows.append((_plain(record[0]), _unescaped(record[1])))
    return {**found, OTHERS: rest} if rest else found


def arguments(
    parameters: Iterable[Any],
    context: Any,  # noqa: ANN401 - typer's private
) -> list[tuple[str, str]]:
    """Collect arguments as (name, help)."""
    return [
        (metavar(parameter).strip("[]"), _unescaped(record[1]))
        for parameter in parameters
        if parameter.param_type_name == "argument"
        and (record := parameter.get_help_record(context)) is not None
    ]


def _plain(spelling: str) -> str:
    for pattern, name in _METAVARS:
        spelling = pattern.sub(name, spelling)
    return spelling


def _unescaped(text: str) -> str:
    # Before 0.26, typer escapes text for rich even if rich does not format it.
    return text.replace("\\[", "[")


class _Helpful:
    """The formatting that commands and groups share; mixed in before typer's class.

    The signatures are typer's, whose types are private.
    """

    def collect_usage_pieces(self, ctx: Any) -> list[str]:  # noqa: ANN401
        """Return the synopsis after the command's name."""
        command: Any = self
        pieces = ["[OPTIONS]"]
        pieces += [
            metavar(parameter)
            for parameter in command.get_params(ctx)
            if parameter.param_type_name == "argument"
        ]
        has_commands = isinstance(command, TyperGroup)
        return [*pieces, "COMMAND [ARGS]..."] if has_commands else pieces

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:  # noqa: ANN401
        """Parse the command line; one without words that needs some is wrong usage.

        What typer does then, and with which exit status, depends on its version.
        """
        command: Any = self
        if not args and command.no_args_is_help and not ctx.resilient_parsing:
            sys.stderr.write(f"{ctx.get_help()}\n")
            raise typer.Exit(ExitStatus.USAGE)
        remaining: list[str] = super().parse_args(ctx, args)  # type: ignore[misc]
        return remaining

    def sections(self) -> dict[str, list[tuple[str, str]]]:
        """Return what else a command explains: by title, (term, help)."""
        return {}

    def format_options(self, ctx: Any, formatter: Any) -> None:  # noqa: ANN401
        """Write arguments and options, and the commands of a group."""
        command: Any = self
        parameters = command.get_params(ctx)
        sections = {
            "Arguments": arguments(parameters, ctx),
            **self.sections(),
            **panels(parameters, ctx),
        }
        for title, rows in sections.items():
            if rows:
                with formatter.section(title):
                    formatter.write_dl(rows)
        if isinstance(command, TyperGroup):
            command.format_commands(ctx, formatter)

    def format_epilog(self, ctx: Any, formatter: Any) -> None:  # noqa: ANN401
        """Write the examples."""
        examples = EXAMPLES.get(ctx.command_path, ())
        if not examples:
            return
        with formatter.section("Examples"):
            for example in examples:
                formatter.write(f"  {example.purpose}:\n")
                formatter.write(f"    {example.line}\n")


class HelpfulCommand(_Helpful, TyperCommand):
    """A command."""


class HelpfulGroup(_Helpful, TyperGroup):
    """A group of commands."""
