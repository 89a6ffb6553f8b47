# SPDX-License-Identifier: Apache-2.0
"""Runs the dashboard: keys, signals and updates in, screens out."""

from __future__ import annotations

import socket
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from rich.console import Console

from cli.output.lines import Lines
from cli.output.terminal import HUNG_UP, Terminal, full_screen
from cli.top.poller import Poller, Sample
from cli.top.screen import render_screen
from cli.top.snapshot import Snapshot
from cli.top.view import Layout, View, press

if TYPE_CHECKING:
    from pathlib import Path

    from rich.live import Live

    from cli.output.terminal import TerminalEvent
    from cli.top.history import History
    from cli.top.poller import Update


class Dashboard:
    """The state of the dashboard, and how it is drawn.

    Synchronization: one thread.
    """

    def __init__(self, console: Console, first: Sample, history: History) -> None:
        self._console = console
        self._history = history
        self._history.add(first.status, first.at_s)
        self._status = first.status
        self._now = datetime.now(UTC).astimezone()
        self._unreachable: str | None = None
        self._view = View()
        self._layout = Layout()
        self._host = socket.gethostname()

    @property
    def view(self) -> View:
        """The user's selections."""
        return self._view

    def apply(self, updates: list[Update]) -> None:
        """Apply updates from the poller."""
        for update in updates:
            if isinstance(update, Sample):
                self._history.add(update.status, update.at_s)
                self._status, self._unreachable = update.status, None
            else:
                self._unreachable = update.reason
        if updates:
            self._now = datetime.now(UTC).astimezone()

    def press(self, keys: tuple[str, ...]) -> None:
        """Handle keys."""
        for key in keys:
            self._view = press(self._view, key, self._layout)

    def draw(self, poller: Poller) -> Lines:
        """Draw the current state."""
        snapshot = Snapshot(
            status=self._status,
            history=self._history,
            events=poller.events(),
            host=self._host,
            now=self._now,
            unreachable=self._unreachable,
        )
        size = self._console.size
        screen = render_screen(snapshot, self._view, size.width, size.height)
        self._layout = screen.layout
        return Lines(screen.lines)


def watch(path: Path, first: Sample, history: History, delay_s: float) -> int:
    """Run the dashboard until the user quits; return the exit status."""
    console = Console(highlight=False)
    dashboard = Dashboard(console, first, history)
    with Terminal() as terminal:
        poller = Poller(path, delay_s, terminal.wake)
        poller.start()
        try:
            while True:
                with full_screen(console) as live:
                    status = _run(terminal, live, dashboard, poller)
                if status is not None:
                    return status
                terminal.stop_process()
        except OSError:
            # The terminal was closed.
            return HUNG_UP
        finally:
            poller.stop()


def _run(
    terminal: Terminal, live: Live, dashboard: Dashboard, poller: Poller
) -> int | None:
    """Run until the end, and return the exit status; None: stopped by Ctrl-Z."""
    event: TerminalEvent | None = None
    while event is None or not event.is_stopping:
        dashboard.apply(poller.take_updates())
        live.update(dashboard.draw(poller), refresh=True)
        event = terminal.wait()
        if event.status is not None:
            return event.status
        dashboard.press(event.keys)
        if dashboard.view.is_quitting:
            return 0
        poller.is_paused = dashboard.view.is_paused
    return None
