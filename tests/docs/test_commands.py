# SPDX-License-Identifier: Apache-2.0
"""What documents say to type, and to write into a configuration, is valid."""

from __future__ import annotations

import re
import tomllib

import pytest

from orchestrator.__main__ import build_parser
from orchestrator.config import Config
from orchestrator.config_files import config_from
from tests.cli.commands import parse
from tests.docs.documents import ROOT, blocks_of, find_documents, read

MAKEFILE = read(ROOT / "Makefile")
README = ROOT / "README.md"
DOCUMENTS = find_documents()


def typed(program: str) -> list[str]:
    """Return the command lines of a program, without prompt, path, remark and more."""
    prompt = re.compile(rf"^[$#] (?:\S*/)?({program}(?: [^#\n]*)?)$", re.MULTILINE)
    rest = re.compile(r" +# .*| \d?>\S+| &$", re.MULTILINE)
    return [
        line.strip()
        for document in DOCUMENTS
        for block in blocks_of(document, "console")
        for line in prompt.findall(rest.sub("", block))
    ]


@pytest.mark.parametrize("line", typed("vmpower"))
def test_command_lines_in_documents_are_commands(line: str) -> None:
    assert parse(line).command_path.startswith("vmpower")


@pytest.mark.parametrize("line", typed("vmpowerd"))
def test_command_lines_of_the_daemon_are_accepted(line: str) -> None:
    assert vars(build_parser().parse_args(line.split()[1:]))


@pytest.mark.parametrize("line", typed("make"))
def test_what_can_be_made_in_documents_can_be_made(line: str) -> None:
    assert f"\n{line.split()[1]}: " in MAKEFILE


def test_targets_that_prose_names_can_be_made() -> None:
    named = {
        target
        for document in DOCUMENTS
        for target in re.findall(r"`make ([a-z-]+)[^`]*`", read(document))
    }
    assert {"check", "test", "man"} <= named
    assert {name for name in named if f"\n{name}: " not in MAKEFILE} == set()


def test_the_readme_begins_with_its_two_commands() -> None:
    assert typed("make")[:2] == ["make demo", "make test"]
    assert len(typed("vmpower")) > 10
    assert typed("vmpowerd")


@pytest.mark.parametrize(
    "text", [text for document in DOCUMENTS for text in blocks_of(document, "toml")]
)
def test_configurations_in_documents_are_configurations(text: str) -> None:
    assert config_from(tomllib.loads(text)) != Config()
