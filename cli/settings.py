"""What the options before the command say; `ctx.obj` of every command."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
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


def settings_of(context: typer.Context) -> Settings:
    """Return the global options of a running command."""
    found = context.find_object(Settings)
    return found if found is not None else Settings()
