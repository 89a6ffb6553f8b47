# SPDX-License-Identifier: Apache-2.0
"""`--help` of every command."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest

from cli.app import app
from cli.framework.examples import EXAMPLES, Example
from orchestrator.policy.kinds.table import KINDS
from orchestrator.policy.rule import options_for
from tests.cli.commands import new_runner, parse, walk

if TYPE_CHECKING:
    from orchestrator.policy.kinds.contract import PolicyKind

COMMANDS = {context.command_path: context for context in walk()}


def help_of(path: str) -> str:
    result = new_runner().invoke(app, [*path.split()[1:], "--help"])
    assert result.exit_code == 0
    return result.stdout


@pytest.mark.parametrize("path", COMMANDS)
def test_every_command_and_parameter_has_a_help_text(path: str) -> None:
    context = COMMANDS[path]
    assert context.command.help
    silent = [
        parameter.name
        for parameter in context.command.get_params(context)
        if not getattr(parameter, "help", None)
    ]
    assert silent == []


@pytest.mark.parametrize("path", COMMANDS)
def test_no_help_shows_type_names(path: str) -> None:
    assert re.findall(r"<\w+[ |\w]*>|\{\w+\}", help_of(path)) == []


@pytest.mark.parametrize("path", COMMANDS)
def test_the_first_line_of_each_help_fits_into_the_list_of_commands(path: str) -> None:
    for line in help_of(path).partition("Commands:\n")[2].splitlines():
        assert not line.endswith("..."), line


@pytest.mark.parametrize(
    ("path", "example"),
    [(path, example) for path, found in EXAMPLES.items() for example in found],
)
def test_examples_are_valid_command_lines(path: str, example: Example) -> None:
    line = re.split(r" [|>] |<\(|\)", example.line.removeprefix("source <("))[0]
    name = parse(line).command_path
    assert name.startswith(path)
    assert example.line in help_of(path)


@pytest.mark.parametrize("kind", KINDS)
def test_the_help_of_policy_set_explains_every_kind(kind: PolicyKind) -> None:
    words = " ".join(help_of("vmpower policy set").split())
    assert f"{kind} {KINDS[kind].summary()}" in words
    for name, option in options_for(kind).items():
        named = f"{name.replace('_', '-')}=..."
        term = option.placeholder if option.is_bare else named
        assert f"{term} {option.doc} [" in words.replace("- ", "-")


def test_arguments_are_spelled_as_in_a_synopsis() -> None:
    usage = {path: help_of(path).splitlines()[0] for path in COMMANDS}
    assert usage["vmpower domain pin"].endswith("pin [OPTIONS] DOMAIN VCPU CPU")
    assert usage["vmpower domain onboard"].endswith("onboard [OPTIONS] [DOMAIN...]")
    assert usage["vmpower channel list"].endswith("list [OPTIONS] [DOMAIN]")
    assert usage["vmpower cpu"].endswith("cpu [OPTIONS] COMMAND [ARGS]...")


def test_options_are_grouped_in_panels() -> None:
    text = help_of("vmpower domain add")
    titles = re.findall(r"^(\w[^:]*):$", text, re.MULTILINE)
    assert titles == [
        "Arguments",
        "Machine",
        "CPUs",
        "Power management",
        "Action",
        "Options",
        "Examples",
    ]
