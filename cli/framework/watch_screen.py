"""Tables that fill a screen and are drawn again and again."""

from __future__ import annotations

import socket
import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from rich.console import Console
from rich.segment import Segment, Segments
from rich.text import Text

from cli.framework.session import connect
from cli.output.full_screen import full_screen
from cli.output.keys import Special
from cli.output.lines import cut, spread
from cli.output.tables.styled import render_styled
from cli.output.terminal import HUNG_UP, Terminal
from orchestrator.errors import ControlError

if TYPE_CHECKING:
    from cli.framework.answer import Ask
    from cli.framework.settings import Settings
    from cli.output.tables.sheet import Sheet
    from cli.output.terminal import Happening
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


def watch(settings: Settings, ask: Ask, watch_s: float) -> int:
    """Draw until the person leaves; return the exit status.

    Raises:
        ControlError: there is no daemon to begin with.
    """
    with connect(settings) as client:
        page = _Page(Console(highlight=False), ask(client).build(), watch_s)
        with Terminal() as terminal:
            try:
                return _run(terminal, page, client, ask)
            except OSError:
                # Nobody can read it any more: the terminal was closed.
                return HUNG_UP


def _run(terminal: Terminal, page: _Page, client: ControlClient, ask: Ask) -> int:
    while True:
        with full_screen(page.console) as live:
            happening = None
            while happening is None or not happening.is_stopping:
                live.update(page.draw(), refresh=True)
                happening = terminal.wait(page.left_s())
                if happening.status is not None:
                    return happening.status
                if "q" in happening.keys:
                    return 0
                page.take(happening, client, ask)
        terminal.stop_process()


class _Page:
    """The tables that were built last, and which part of them is seen.

    Synchronization: one thread.
    """

    def __init__(
        self, console: Console, sheets: tuple[Sheet, ...], watch_s: float
    ) -> None:
        self.console = console
        self._sheets = sheets
        self._watch_s = watch_s
        self._gone = ""
        self._now = datetime.now(UTC).astimezone()
        self._due_s = time.monotonic() + watch_s
        self._first = 0

    def left_s(self) -> float:
        """Return the time until the daemon is asked again."""
        return max(0.0, self._due_s - time.monotonic())

    def take(self, happening: Happening, client: ControlClient, ask: Ask) -> None:
        """Scroll as the keys say, and ask again when it is time."""
        self._first += sum(
            _STEPS.get(Special(k), 0) for k in happening.keys if k in _STEPS
        )
        if self.left_s() > 0:
            return
        try:
            self._sheets, self._gone = ask(client).build(), ""
        except ControlError as error:
            self._gone = f"{error}, trying again"
        self._now = datetime.now(UTC).astimezone()
        self._due_s = time.monotonic() + self._watch_s

    def draw(self) -> Segments:
        """Draw the lines that have room."""
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
        more = f", {hidden} more lines: arrows scroll" if hidden else ""
        left = Text.assemble((f" every {self._watch_s:g} s, q quits{more}", "dim"))
        if self._gone:
            left = Text.assemble((f" {self._gone} ", "bold white on red"))
        right = Text(f"{socket.gethostname()}  {self._now:%H:%M:%S} ")
        head = spread(left, right, width)
        cut(head, width)
        return head.append("\n")
