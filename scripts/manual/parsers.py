# SPDX-License-Identifier: Apache-2.0
"""Options and commands of argparse parsers, for `vmpowerd` and `vmpower-guest`."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from scripts.manual import roff

if TYPE_CHECKING:
    from collections.abc import Iterator

_HELP = "--help"


def synopsis(parser: argparse.ArgumentParser) -> str:
    """Format the synopsis."""
    words = [
        _spelling(action, only_first=True)
        if action.required
        else f"[{_spelling(action, only_first=True)}]"
        for action in _actions(parser)
    ]
    return " ".join([roff.bold(parser.prog), *words])


def options(parser: argparse.ArgumentParser) -> list[str]:
    """Format the options and arguments with their help."""
    lines: list[str] = []
    for action in _actions(parser):
        words = (action.help or "") % {**vars(action), "prog": parser.prog}
        lines += roff.item(_spelling(action), words)
    return lines


def commands(parser: argparse.ArgumentParser) -> Iterator[argparse.ArgumentParser]:
    """Yield the parsers of all commands that have no subcommands."""
    subcommands = [
        command
        for action in parser._actions  # noqa: SLF001 - there is no public name
        if isinstance(action, argparse._SubParsersAction)  # noqa: SLF001
        for command in action.choices.values()
    ]
    for command in subcommands:
        yield from commands(command)
    if not subcommands:
        yield parser


def _actions(parser: argparse.ArgumentParser) -> list[argparse.Action]:
    return [
        action
        for action in parser._actions  # noqa: SLF001
        if _HELP not in action.option_strings
        and not isinstance(action, argparse._SubParsersAction)  # noqa: SLF001
    ]


def _spelling(action: argparse.Action, *, only_first: bool = False) -> str:
    value = "" if action.nargs == 0 else f" {_value(action)}"
    names = action.option_strings[:1] if only_first else action.option_strings
    return roff.spelling((", ".join(names) + value).strip())


def _value(action: argparse.Action) -> str:
    if action.metavar is None and action.choices is not None:
        return "|".join(map(str, action.choices))
    return str(action.metavar or action.dest.upper())
