# SPDX-License-Identifier: Apache-2.0
"""The commands that the README proposes are typed into two terminals, one by one."""

from __future__ import annotations

import re
import shutil
from typing import TYPE_CHECKING

import pytest

from tests.cli.tmux import TmuxTerminal
from tests.daemon.daemon_process import CHECKOUT

if TYPE_CHECKING:
    from pathlib import Path

README = CHECKOUT / "README.md"
SECTION = "## Try it by hand"

pytestmark = pytest.mark.skipif(
    shutil.which("tmux") is None, reason="tmux is not installed"
)


def blocks() -> list[list[str]]:
    """Return the commands of the section, by block."""
    text = README.read_text(encoding="utf-8").partition(SECTION)[2]
    section = text.partition("\n## ")[0]
    found = re.findall(r"```console\n(.*?)```", section, flags=re.DOTALL)
    return [re.findall("^[$] (.*)", block, flags=re.MULTILINE) for block in found]


def open_terminal(directory: Path) -> TmuxTerminal:
    variables = {"PYTHONPATH": str(CHECKOUT), "TMPDIR": str(directory)}
    return TmuxTerminal(variables, width=130, height=50)


def type_and_wait(terminal: TmuxTerminal, command: str) -> str:
    """Type a command that ends; return what it shows."""
    terminal.type(f"clear; {command}\n")
    terminal.type("echo status=$?-end\n")
    seen = terminal.wait_for(lambda s: bool(re.search(r"status=\d+-end", s)))
    assert "status=0-end" in seen, seen
    return seen


def test_what_the_readme_shows_can_be_typed(directory: Path) -> None:
    first_commands, second_commands, *_ = blocks()
    assert first_commands.pop().startswith("vmpower try ")
    assert second_commands.pop().startswith("vmpower top ")
    with open_terminal(directory) as first, open_terminal(directory) as second:
        for command in first_commands:
            type_and_wait(first, command)
        first.type("clear; vmpower try\n")
        printed = first.wait_for("Ctrl-C ends it")
        shown = [type_and_wait(second, command) for command in second_commands]
        run_dir = type_and_wait(second, "echo $VMPOWER_RUN_DIR").split()
        assert f"VMPOWER_RUN_DIR={run_dir[0]}\n" in printed
        assert "1.20 GHz until released" in "".join(shown)
        assert "simulated" in "".join(shown)
        second.type("clear; vmpower top\n")
        second.wait_for(lambda s: "q quit" in s and "fw" in s)
        second.press("q")
        type_and_wait(second, "true")
        first.press("C-c")
        first.wait_for("everything was removed")
        type_and_wait(first, "true")
    assert list(directory.iterdir()) == []


def test_what_it_prints_can_be_typed_too(directory: Path) -> None:
    with open_terminal(directory) as first, open_terminal(directory) as second:
        type_and_wait(first, 'export PATH="$PWD/.venv/bin:$PATH"')
        first.type("clear; vmpower try\n")
        printed = first.wait_for("Ctrl-C ends it")
        commands = re.findall("^  (.*)", printed, flags=re.MULTILINE)
        assert commands[0].startswith("export VMPOWER_RUN_DIR=")
        type_and_wait(second, 'export PATH="$PWD/.venv/bin:$PATH"')
        for command in commands:
            if not command.startswith("vmpower top"):
                type_and_wait(second, command)
        first.press("C-c")
        first.wait_for("everything was removed")
