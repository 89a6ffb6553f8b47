# SPDX-License-Identifier: Apache-2.0
"""Writes one picture of the dashboard, without a terminal."""

from __future__ import annotations

import itertools
import socket
import threading
import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from cli.output.lines import Lines
from cli.output.svg import write_svg
from cli.top.poller import Sample
from cli.top.recorded import read_recorded
from cli.top.screen import render_screen
from cli.top.snapshot import Snapshot
from cli.top.view import View

if TYPE_CHECKING:
    from pathlib import Path

    from orchestrator.control.client import ControlClient


def export_svg(
    client: ControlClient,
    first: Sample,
    path: Path,
    size: tuple[int, int],
    plan: tuple[int, float],
) -> None:
    """Collect samples, so that there are rates, and write a picture of the last one.

    Args:
        client: of the daemon.
        first: the first sample.
        path: the file; it is overwritten.
        size: columns and lines.
        plan: the number of samples, and the seconds between two of them.

    Raises:
        ControlError: the daemon does not respond any more.
        ConfigError: the file cannot be written.
    """
    history, sample = read_recorded(client, plan[1]), first
    samples, delay_s = plan
    never = threading.Event()
    for _ in itertools.repeat(None, samples - 1):
        history.add(sample.status, sample.at_s)
        never.wait(delay_s)
        sample = Sample(client.status(), time.monotonic())
    history.add(sample.status, sample.at_s)
    snapshot = Snapshot(
        status=sample.status,
        history=history,
        events=tuple(client.events(clocks=False)),
        host=socket.gethostname(),
        now=datetime.now(UTC).astimezone(),
    )
    screen = render_screen(snapshot, View(), *size)
    write_svg(path, Lines(screen.lines), title="vmpower top", size=size)
