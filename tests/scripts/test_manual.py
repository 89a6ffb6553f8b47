# SPDX-License-Identifier: Apache-2.0
"""The manual pages: complete, up to date, valid."""

from __future__ import annotations

import dataclasses
import shutil
import subprocess
import tomllib
import typing
from pathlib import Path
from typing import Any

import pytest

from orchestrator.__main__ import build_parser
from orchestrator.config import Config
from orchestrator.config_files import config_from, key_of
from orchestrator.guest import arguments
from orchestrator.policy.kinds.table import KINDS
from orchestrator.policy.rule import PolicyRule, options_for
from scripts.manual import parsers, prose, roff
from scripts.manual.docstrings import members_of
from scripts.manual.pages import build_pages
from tests.cli.commands import walk

if typing.TYPE_CHECKING:
    import argparse

    from orchestrator.policy.kinds.contract import PolicyKind

DIRECTORY = Path(__file__).parents[2] / "docs" / "man"
PAGES = build_pages()


@pytest.mark.parametrize("name", PAGES)
def test_the_pages_in_docs_are_up_to_date(name: str) -> None:
    kept = (DIRECTORY / name).read_text(encoding="utf-8")
    assert kept == PAGES[name], "run 'make man' and commit docs/man"


def test_docs_contain_no_other_pages() -> None:
    assert sorted(path.name for path in DIRECTORY.iterdir()) == sorted(PAGES)


@pytest.mark.parametrize("name", PAGES)
@pytest.mark.parametrize(
    "linter",
    [("groff", "-man", "-Tutf8", "-ww"), ("mandoc", "-Tlint", "-Wwarning")],
    ids=lambda linter: linter[0],
)
def test_manual_page_linters_report_nothing(
    name: str, linter: tuple[str, ...], tmp_path: Path
) -> None:
    if shutil.which(linter[0]) is None:
        pytest.skip(f"{linter[0]} is not installed (see scripts/packages.txt)")
    page = tmp_path / name
    page.write_text(PAGES[name], encoding="utf-8")
    done = subprocess.run(
        [*linter, str(page)], capture_output=True, text=True, check=False
    )
    messages = done.stderr + (done.stdout if linter[0] == "mandoc" else "")
    assert (done.returncode, messages) == (0, "")


def test_every_command_and_option_is_in_the_page() -> None:
    page = PAGES["vmpower.1"]
    for context in walk():
        if hasattr(context.command, "list_commands"):
            continue
        assert f'.SS "{roff.escape(context.command_path)}"' in page
    for option in ("--run-dir", "--print-diff", "--emulator-pin", "--follow"):
        assert roff.bold(option) in page
    for option in options_of(build_parser()):
        assert roff.bold(option) in PAGES["vmpowerd.8"]


def test_every_command_and_option_of_vmpower_guest_is_in_its_page() -> None:
    page = PAGES["vmpower-guest.1"]
    guest = arguments.build_parser()
    found = list(parsers.commands(guest))
    assert {command.prog.split()[1] for command in found} == {
        *("auto", "energy", "policy", "query", "set", "watch")
    }
    for command in (guest, *found):
        for option in options_of(command):
            assert roff.bold(option) in page
    for command in found:
        assert f'.SS "{roff.escape(command.prog)}"' in page


def options_of(parser: argparse.ArgumentParser) -> list[str]:
    """Return the options of a parser, except --help."""
    options = [word for action in parser._actions for word in action.option_strings]
    return [option for option in options if option not in ("-h", "--help")]


def fields_of(cls: Any) -> list[tuple[Any, str]]:
    """Return all fields of a dataclass, and of the dataclasses in it."""
    found = []
    hints = typing.get_type_hints(cls)
    for field in dataclasses.fields(cls):
        found.append((cls, field.name))
        kinds = (hints[field.name], *typing.get_args(hints[field.name]))
        for kind in kinds:
            if kind is PolicyRule:  # tested separately
                continue
            if isinstance(kind, type) and dataclasses.is_dataclass(kind):
                found += fields_of(kind)
    return found


@pytest.mark.parametrize(
    ("cls", "name"), fields_of(Config), ids=lambda it: getattr(it, "__name__", it)
)
def test_every_key_of_the_configuration_is_explained(cls: Any, name: str) -> None:
    page = PAGES["vmpower.toml.5"]
    key = roff.escape(key_of(name))
    assert rf"\fB{key}\fR (" in page or f'.SS "[{key}]"' in page or f"[[{key}]]" in page
    is_table = f'.SS "[{key}]"' in page
    assert is_table or members_of(cls).get(name), f"{cls.__name__}.{name}: no help"


@pytest.mark.parametrize("kind", KINDS)
def test_every_policy_kind_and_its_options_are_explained(kind: PolicyKind) -> None:
    page = PAGES["vmpower.toml.5"]
    assert roff.bold(f'"{kind}"') in page
    assert roff.escape(KINDS[kind].summary()) in " ".join(page.splitlines())
    begin = page.index("Options of kind " + roff.bold(f'"{kind}"'))
    own = page[begin : page.index(".RE", begin)]
    for name, option in KINDS[kind].options().items():
        assert f"{roff.bold(name)} ({roff.escape(option.about)})" in own
    for name in ("match", "kind", *options_for(kind)):
        assert rf"{roff.bold(name)} (" in page


def test_the_example_is_a_configuration() -> None:
    config = config_from(tomllib.loads("\n".join(prose.CONFIGURATION_EXAMPLE)))
    assert config.bounds.min_khz == 1_200_000
    assert [rule.match for rule in config.domain] == ["fw-*"]


def test_exit_statuses_are_in_both_pages() -> None:
    for number in ("0", "1", "2", "3", "4", "5", "130"):
        assert f".TP\n\\fB{number}\\fR\n" in PAGES["vmpower.1"]
    for number in ("0", "1", "2", "3", "4", "130"):
        assert f".TP\n\\fB{number}\\fR\n" in PAGES["vmpower-guest.1"]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a-b", r"a\-b"),
        (r"C:\x", r"C:\ex"),
        ("use `x-y` or --all", r"use \fBx\-y\fR or \fB\-\-all\fR"),
        ("schön", r"sch\[u00F6]n"),
    ],
)
def test_text_is_escaped_for_roff(text: str, expected: str) -> None:
    assert roff.text(text) == [".PP", expected]


def test_a_line_that_begins_with_a_dot_is_escaped() -> None:
    assert roff.verbatim([".SH x"])[3] == r"\&.SH x"


def test_options_are_bold_and_their_values_italic() -> None:
    assert roff.spelling("-o, --output table|json") == (
        r"\fB\-o\fR, \fB\-\-output\fR \fItable|json\fR"
    )
