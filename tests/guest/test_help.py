# SPDX-License-Identifier: Apache-2.0
"""`--help` of every command of `vmpower-guest`."""

from __future__ import annotations

import argparse
import re
import shlex

import pytest

from orchestrator.guest.arguments import build_parser
from orchestrator.guest.examples import EXAMPLES
from scripts.manual.parsers import commands

COMMANDS = {
    command.prog: command for command in (build_parser(), *commands(build_parser()))
}


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_and_argument_has_a_help_text(name: str) -> None:
    command = COMMANDS[name]
    assert command.description
    silent = [
        action.dest
        for action in command._actions
        if not action.help and not isinstance(action, argparse._SubParsersAction)
    ]
    assert silent == []


@pytest.mark.parametrize("name", COMMANDS)
def test_help_fits_a_terminal_and_shows_no_braces(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    text = COMMANDS[name].format_help()
    assert [line for line in text.splitlines() if len(line) > 80] == []
    assert re.findall(r"\{.*\}", text) == []
    for line in EXAMPLES.get(name, {}).values():
        assert f"    {line}\n" in text


@pytest.mark.parametrize(
    "line", [line for examples in EXAMPLES.values() for line in examples.values()]
)
def test_examples_are_valid_commands(line: str) -> None:
    program, *words = shlex.split(line.partition(" | ")[0])
    assert program == "vmpower-guest"
    options = build_parser().parse_args(words)
    assert options.command == words[0]


def test_every_example_belongs_to_a_command() -> None:
    assert EXAMPLES.keys() <= COMMANDS.keys()
