"""What the options before the command say; `ctx.obj` of every command."""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import StrEnum
from pathlib import Path
from typing import Annotated, TypeAlias

import typer

DEFAULT_RUN_DIR = Path("/run/vmpower")
"""Where vmpowerd keeps its sockets unless it is told otherwise."""


class Output(StrEnum):
    """How answers are written."""

    TABLE = "table"
    """For people."""
    JSON = "json"
    """For programs; keys are stable."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """The global options."""

    run_dir: Path = DEFAULT_RUN_DIR
    socket: Path | None = None
    """One control socket, instead of those of the run directory."""
    uri: str = ""
    """libvirt URI for commands that speak to libvirt; empty: libvirt's default."""
    output: Output = Output.TABLE
    is_plain: bool = False
    """Tables without colour and lines, whatever the terminal can do."""


OutputOption: TypeAlias = Annotated[
    Output | None, typer.Option("--output", "-o", help="For people or for programs.")
]
"""The global option again, for commands that show something: it is so often typed
that it may stand behind the command as well."""


def settings_of(context: typer.Context, output: Output | None = None) -> Settings:
    """Return the global options of a running command.

    Args:
        context: the command's.
        output: what the command's own option says; it goes before the global one.
    """
    found = context.find_object(Settings)
    settings = found if found is not None else Settings()
    return settings if output is None else replace(settings, output=output)
