"""The dashboard as it runs: keys, signals and news in, pictures out."""

from __future__ import annotations

import socket
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from rich.console import Console

from cli.output.full_screen import full_screen
from cli.output.lines import Lines
from cli.output.terminal import HUNG_UP, Terminal
from cli.top.board import Board
from cli.top.feeder import Feeder, Look
from cli.top.history import History
from cli.top.picture import picture
from cli.top.view import Drawn, View, press

if TYPE_CHECKING:
    from pathlib import Path

    from rich.live import Live

    from cli.output.terminal import Happening
    from cli.top.feeder import News


class Dashboard:
    """Keeps what was seen and what the person chose; draws it.

    Synchronization: one thread.
    """

    def __init__(self, console: Console, first: Look) -> None:
        self._console = console
        self._history = History()
        self._history.add(first.status, first.at_s)
        self._status = first.status
        self._now = datetime.now(UTC).astimezone()
        self._gone: str | None = None
        self._view = View()
        self._drawn = Drawn()
        self._host = socket.gethostname()

    @property
    def view(self) -> View:
        """What the person chose."""
        return self._view

    def learn(self, news: list[News]) -> None:
        """Take in what the daemon said, or that it is gone."""
        for one in news:
            if isinstance(one, Look):
                self._history.add(one.status, one.at_s)
                self._status, self._gone = one.status, None
            else:
                self._gone = one.reason
        if news:
            self._now = datetime.now(UTC).astimezone()

    def press(self, keys: tuple[str, ...]) -> None:
        """Do what keys say."""
        for key in keys:
            self._view = press(self._view, key, self._drawn)

    def draw(self, feeder: Feeder) -> Lines:
        """Draw this moment."""
        board = Board(
            status=self._status,
            history=self._history,
            events=feeder.events(),
            host=self._host,
            now=self._now,
            gone=self._gone,
        )
        size = self._console.size
        drawn = picture(board, self._view, size.width, size.height)
        self._drawn = drawn.drawn
        return Lines(drawn.lines)


def watch(path: Path, first: Look, delay_s: float) -> int:
    """Show the dashboard until the person leaves; return the exit status."""
    console = Console(highlight=False)
    dashboard = Dashboard(console, first)
    with Terminal() as terminal:
        feeder = Feeder(path, delay_s, terminal.wake)
        feeder.start()
        try:
            while True:
                with full_screen(console) as live:
                    status = _show(terminal, live, dashboard, feeder)
                if status is not None:
                    return status
                terminal.stop_process()
        except OSError:
            # Nobody can read it any more: the terminal was closed.
            return HUNG_UP
        finally:
            feeder.stop()


def _show(
    terminal: Terminal, live: Live, dashboard: Dashboard, feeder: Feeder
) -> int | None:
    """Run until it ends, with the exit status, or until it is stopped: None."""
    happening: Happening | None = None
    while happening is None or not happening.is_stopping:
        dashboard.learn(feeder.take())
        live.update(dashboard.draw(feeder), refresh=True)
        happening = terminal.wait()
        if happening.status is not None:
            return happening.status
        dashboard.press(happening.keys)
        if dashboard.view.is_over:
            return 0
        feeder.is_paused = dashboard.view.is_paused
    return None
