# SPDX-License-Identifier: Apache-2.0
"""What a command does with the daemon's answers: request, format, write."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

from cli.framework.settings import Output
from cli.output.echo import print_json
from orchestrator.control import CONTROL_SOCKET, READ_ONLY_SOCKET
from orchestrator.control.client import ControlClient

if TYPE_CHECKING:
    from pathlib import Path

    from cli.framework.settings import Settings
    from cli.output.tables.sheet import Sheet


@dataclass(frozen=True, slots=True)
class Answer:
    """A document from the daemon, and how to build its tables."""

    document: Mapping[str, object]
    build: Callable[[], tuple[Sheet, ...]]


Query: TypeAlias = Callable[[ControlClient], Answer]
"""Requests a document; commands with `--watch` repeat it."""


def connect(settings: Settings, *, is_changing: bool = False) -> ControlClient:
    """Return a client of the read-only socket, or of the control socket."""
    return ControlClient(socket_path(settings, is_changing=is_changing))


def socket_path(settings: Settings, *, is_changing: bool = False) -> Path:
    """Return the path of the socket that a call needs."""
    name = CONTROL_SOCKET if is_changing else READ_ONLY_SOCKET
    return settings.socket or settings.run_dir / name


def show(
    settings: Settings,
    document: Mapping[str, object],
    build: Callable[[], tuple[Sheet, ...]],
) -> None:
    """Write a document, as JSON or as tables."""
    if settings.output is Output.JSON:
        print_json(document)
    else:
        write_sheets(settings, build())


def write_sheets(settings: Settings, sheets: tuple[Sheet, ...]) -> None:
    """Write tables: drawn on a terminal, plain elsewhere."""
    if is_styled(settings):
        # rich costs 25 ms; plain tables do without it.
        from cli.output.tables.styled import print_styled

        print_styled(sheets)
    else:
        from cli.output.tables.plain import render_plain

        sys.stdout.write("".join(f"{line}\n" for line in render_plain(sheets)))


def is_styled(settings: Settings) -> bool:
    """Return whether to draw tables: on a capable terminal, or if that is forced."""
    if settings.is_plain:
        return False
    forced = os.environ.get("CLICOLOR_FORCE") or os.environ.get("FORCE_COLOR")
    if forced and forced != "0":
        return True
    return sys.stdout.isatty() and os.environ.get("TERM") != "dumb"
