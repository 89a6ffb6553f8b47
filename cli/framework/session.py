"""A command's conversation with the daemon and with the person."""

from __future__ import annotations

import json
import os
import sys
from typing import TYPE_CHECKING

from cli.framework.settings import Output
from orchestrator.control import CONTROL_SOCKET, READ_ONLY_SOCKET
from orchestrator.control.client import ControlClient
from orchestrator.values.safe_text import printable_json

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from cli.framework.settings import Settings
    from cli.output.tables.sheet import Sheet


def connect(settings: Settings, *, is_changing: bool = False) -> ControlClient:
    """Open the socket that the call needs: reading works for everybody."""
    return ControlClient(socket_path(settings, is_changing=is_changing))


def socket_path(settings: Settings, *, is_changing: bool = False) -> Path:
    """Name the socket that a call needs."""
    name = CONTROL_SOCKET if is_changing else READ_ONLY_SOCKET
    return settings.socket or settings.run_dir / name


def write_json(document: Mapping[str, object]) -> None:
    """Write a document for programs."""
    text = json.dumps(document, indent=2, ensure_ascii=False)
    sys.stdout.write(printable_json(text) + "\n")


def write_json_line(document: Mapping[str, object]) -> None:
    """Write one of many documents for programs: a line each, and each at once."""
    text = json.dumps(document, ensure_ascii=False)
    sys.stdout.write(printable_json(text) + "\n")
    sys.stdout.flush()


def show(
    settings: Settings,
    document: Mapping[str, object],
    build: Callable[[], tuple[Sheet, ...]],
) -> None:
    """Write a document: as JSON, or as the tables that are built of it."""
    if settings.output is Output.JSON:
        write_json(document)
    else:
        write_sheets(settings, build())


def write_sheets(settings: Settings, sheets: tuple[Sheet, ...]) -> None:
    """Write tables: styled on a terminal, as virsh does elsewhere."""
    if is_styled(settings):
        # rich costs 25 ms; a pipe does not need it.
        from cli.output.tables.styled import print_styled

        print_styled(sheets)
    else:
        from cli.output.tables.plain import render_plain

        sys.stdout.write("".join(f"{line}\n" for line in render_plain(sheets)))


def is_styled(settings: Settings) -> bool:
    """Tell whether to draw: on a terminal that can, or where it is asked for."""
    if settings.is_plain:
        return False
    forced = os.environ.get("CLICOLOR_FORCE") or os.environ.get("FORCE_COLOR")
    if forced and forced != "0":
        return True
    return sys.stdout.isatty() and os.environ.get("TERM") != "dumb"
