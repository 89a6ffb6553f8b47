"""What `vmpowerd --help` says."""

from __future__ import annotations

import argparse

from orchestrator.__main__ import build_parser
from scripts.manual import roff


def daemon_synopsis() -> str:
    """Write the command line."""
    words = [
        f"[{_spelling(action, only_first=True)}]"
        for action in build_parser()._actions  # noqa: SLF001 - argparse has no other door
        if not isinstance(action, argparse._HelpAction)  # noqa: SLF001
    ]
    return f"{roff.bold('vmpowerd')} {' '.join(words)}"


def daemon_options() -> list[str]:
    """Write all options."""
    lines: list[str] = []
    for action in build_parser()._actions:  # noqa: SLF001
        words = (action.help or "").replace("%%", "%")
        lines += roff.item(_spelling(action), words)
    return lines


def _spelling(action: argparse.Action, *, only_first: bool = False) -> str:
    value = "" if action.nargs == 0 else f" {_value(action)}"
    options = action.option_strings[:1] if only_first else action.option_strings
    return roff.spelling(", ".join(options) + value)


def _value(action: argparse.Action) -> str:
    if action.choices is not None:
        return "|".join(map(str, action.choices))
    return str(action.metavar or action.dest.upper())
