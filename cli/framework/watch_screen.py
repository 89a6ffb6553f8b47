# SPDX-License-Identifier: Apache-2.0
"""`--watch` on a terminal: tables on a full screen, redrawn at an interval."""

from __future__ import annotations

import socket
import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from rich.console import Console
from rich.segment import Segment, Segments
from rich.text import Text

from cli.framework.session import connect
from cli.output.keys import Special
from cli.output.lines import spread, truncate
from cli.output.tables.styled import render_styled
from cli.output.terminal import HUNG_UP, Terminal, full_screen
from orchestrator.errors import ControlError

if TYPE_CHECKING:
    from cli.framework.session import Query
    from cli.framework.settings import Settings
    from cli.output.tables.sheet import Sheet
    from cli.output.terminal import TerminalEvent
    from orchestrator.control.client import ControlClient

_HEAD_ROWS = 2
_STEPS = {
    Special.UP: -1,
    Special.DOWN: 1,
    Special.PAGE_UP: -10,
    Special.PAGE_DOWN: 10,
    Special.HOME: -1_000_000,
    Special.END: 1_000_000,
}


def watch(settings: Settings, query: Query, watch_s: float) -> int:
    """Redraw until the user quits; return the exit status.

    Raises:
        ControlError: the daemon does not respond to the first request.
    """
    with connect(settings) as client:
        page = _Page(Console(highlight=False), query(client).build(), watch_s)
        with Terminal() as terminal:
            try:
                return _run(terminal, page, client, query)
            except OSError:
                # The terminal was closed.
                return HUNG_UP


def _run(terminal: Terminal, page: _Page, client: ControlClient, query: Query) -> int:
    while True:
        with full_screen(page.console) as live:
            event = None
            while event is None or not event.is_stopping:
                live.update(page.draw(), refresh=True)
                event = terminal.wait(page.left_s())
                if event.status is not None:
                    return event.status
                if "q" in event.keys:
                    return 0
                page.handle(event, client, query)
        terminal.stop_process()


class _Page:
    """The latest tables, and the part of them that is visible.

    Synchronization: one thread.
    """

    def __init__(
        self, console: Console, sheets: tuple[Sheet, ...], watch_s: float
    ) -> None:
        self.console = console
        self._sheets = sheets
        self._watch_s = watch_s
        self._error = ""
        self._now = datetime.now(UTC).astimezone()
        self._due_s = time.monotonic() + watch_s
        self._first = 0

    def left_s(self) -> float:
        """Return the time until the next request."""
        return max(0.0, self._due_s - time.monotonic())

    def handle(self, event: TerminalEvent, client: ControlClient, query: Query) -> None:
        """Scroll, and request the tables again if the interval is over."""
        self._first += sum(_STEPS.get(Special(k), 0) for k in event.keys if k in _STEPS)
        if self.left_s() > 0:
            return
        try:
            self._sheets, self._error = query(client).build(), ""
        except ControlError as error:
            self._error = f"{error}; retrying"
        self._now = datetime.now(UTC).astimezone()
        self._due_s = time.monotonic() + self._watch_s

    def draw(self) -> Segments:
        """Draw the visible lines."""
        width, height = self.console.size
        options = self.console.options.update(width=width, height=None)
        drawn = render_styled(self._sheets, width)
        lines = self.console.render_lines(drawn, options, pad=False)
        room = max(1, height - _HEAD_ROWS)
        self._first = min(max(0, self._first), max(0, len(lines) - room))
        seen = lines[self._first : self._first + room]
        segments = list(self._head(width, len(lines) - len(seen)).render(self.console))
        for line in seen:
            segments += [Segment.line(), *line]
        return Segments(segments)

    def _head(self, width: int, hidden: int) -> Text:
        more = f", {hidden} more lines (scroll with arrow keys)" if hidden else ""
        left = Text.assemble((f" every {self._watch_s:g} s, q to quit{more}", "dim"))
        if self._error:
            left = Text.assemble((f" {self._error} ", "bold white on red"))
        right = Text(f"{socket.gethostname()}  {self._now:%H:%M:%S} ")
        head = spread(left, right, width)
        truncate(head, width)
        return head.append("\n")
