# SPDX-License-Identifier: Apache-2.0
"""The global options; `ctx.obj` of every command."""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TypeAlias

import typer

if TYPE_CHECKING:
    from collections.abc import Sequence

DEFAULT_RUN_DIR = Path("/run/vmpower")
"""Where vmpowerd has its sockets by default."""


class Output(StrEnum):
    """The format of the output."""

    TABLE = "table"
    """Tables and sentences."""
    JSON = "json"
    """JSON documents; their keys are stable."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """The global options."""

    run_dir: Path = DEFAULT_RUN_DIR
    socket: Path | None = None
    """A control socket to use instead of those in the run directory."""
    uri: str = ""
    """libvirt URI of commands that use libvirt; empty: libvirt's default."""
    output: Output = Output.TABLE
    is_plain: bool = False
    """Whether tables are plain even on a terminal."""


_OUTPUT_NAMES = ("--output", "-o")
OutputOption: TypeAlias = Annotated[
    Output | None, typer.Option(*_OUTPUT_NAMES, help="Output format.")
]
"""The global option once more, so that it is also accepted after the command."""


def is_json_requested(words: Sequence[str]) -> bool:
    """Return whether a command line requests JSON, even if the rest of it is invalid.

    Args:
        words: the arguments of the program.
    """
    value = ""
    for word, following in zip(words, [*words, ""][1:], strict=True):
        if word == "--":
            break
        if word in _OUTPUT_NAMES:
            value = following
        elif word.startswith("--output="):
            value = word.removeprefix("--output=")
        elif word.startswith("-o"):
            value = word[2:]
    return value == Output.JSON


def settings_of(context: typer.Context, output: Output | None = None) -> Settings:
    """Return the global options of a running command.

    Args:
        context: of the command.
        output: value of the command's own option; it overrides the global one.
    """
    found = context.find_object(Settings)
    settings = found if found is not None else Settings()
    return settings if output is None else replace(settings, output=output)
