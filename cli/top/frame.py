"""One picture of the dashboard, without a terminal."""

from __future__ import annotations

import itertools
import socket
import threading
import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from cli.output.lines import Lines
from cli.output.svg import write_svg
from cli.top.board import Board
from cli.top.feeder import Look
from cli.top.history import History
from cli.top.picture import picture
from cli.top.view import View

if TYPE_CHECKING:
    from pathlib import Path

    from orchestrator.control.client import ControlClient


def write_frame(
    client: ControlClient,
    first: Look,
    path: Path,
    size: tuple[int, int],
    plan: tuple[int, float],
) -> None:
    """Look some times, so that there are rates, and write the last moment.

    Args:
        client: the daemon.
        first: the first look at it.
        path: the file.
        size: columns and lines.
        plan: how many looks, and the seconds between two of them.

    Raises:
        ControlError: the daemon ended meanwhile.
        ConfigError: the file cannot be written.
    """
    history, look = History(), first
    looks, delay_s = plan
    never = threading.Event()
    for _ in itertools.repeat(None, looks - 1):
        history.add(look.status, look.at_s)
        never.wait(delay_s)
        look = Look(client.status(), time.monotonic())
    history.add(look.status, look.at_s)
    board = Board(
        status=look.status,
        history=history,
        events=tuple(client.events(clocks=False)),
        host=socket.gethostname(),
        now=datetime.now(UTC).astimezone(),
    )
    width, height = size
    drawn = picture(board, View(), width, height)
    write_svg(path, Lines(drawn.lines), title="vmpower top", size=size)
