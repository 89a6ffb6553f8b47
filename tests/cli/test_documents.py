"""What the documents tell people to type, and to write into a configuration."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest

from orchestrator.config import Config, config_from
from tests.cli.commands import parse

ROOT = Path(__file__).parents[2]
DOCUMENTS = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
MAKEFILE = (ROOT / "Makefile").read_text(encoding="utf-8")


def blocks(document: Path, kind: str) -> list[str]:
    text = document.read_text(encoding="utf-8")
    return re.findall(rf"^```{kind}\n(.*?)^```", text, re.MULTILINE | re.DOTALL)


def typed(program: str) -> list[str]:
    """Return the command lines of a program, without prompt, path and remark."""
    prompt = re.compile(rf"^[$#] (?:\S*/)?({program} [^#\n]*)", re.MULTILINE)
    return [
        line.strip().removesuffix("&")
        for document in DOCUMENTS
        for block in blocks(document, "console")
        for line in prompt.findall(block)
    ]


@pytest.mark.parametrize("line", typed("vmpower"))
def test_command_lines_in_documents_are_commands(line: str) -> None:
    assert parse(line).command_path.startswith("vmpower ")


@pytest.mark.parametrize("line", typed("make"))
def test_what_can_be_made_in_documents_can_be_made(line: str) -> None:
    assert f"\n{line.split()[1]}: " in MAKEFILE


def test_the_readme_begins_with_its_two_commands() -> None:
    assert typed("make")[:2] == ["make demo", "make test"]
    assert len(typed("vmpower")) > 10


@pytest.mark.parametrize(
    "text", [text for document in DOCUMENTS for text in blocks(document, "toml")]
)
def test_configurations_in_documents_are_configurations(text: str) -> None:
    assert config_from(tomllib.loads(text)) != Config()
