# SPDX-License-Identifier: Apache-2.0
"""Shows a recording: live on a terminal, otherwise as plain text at an interval."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Self

from rich.live import Live

from cli.output.svg import write_svg
from examples.demo.picture import live_picture
from examples.demo.plain_text import plain_text

if TYPE_CHECKING:
    from pathlib import Path
    from types import TracebackType

    from rich.console import Console

    from examples.demo.recording import Recording

_FRAME_S = 0.25
_TEXT_INTERVAL_S = 3.0
_SVG_SIZE = (100, 40)
_SVG_AT = 0.9
"""Part of the demo after which the picture is saved: all guests still run."""


class Display:
    """Shows a recording as it grows, at a readable rate.

    Synchronization: one thread.
    """

    def __init__(self, console: Console, *, is_plain: bool, svg: Path | None) -> None:
        """Prepare.

        Args:
            console: where to show it.
            is_plain: plain text, even on a terminal.
            svg: file for the live picture, saved near the end.
        """
        self._console = console
        self._svg = svg
        self._shown_s = float("-inf")
        self._live: Live | None = None
        if console.is_terminal and not is_plain:
            self._live = Live(console=console, auto_refresh=False, screen=True)

    def show(self, recording: Recording) -> None:
        """Show the current state, unless the interval is not over.

        Raises:
            ConfigError: the picture cannot be written.
        """
        if self._svg and recording.at_s > _SVG_AT * recording.setup.seconds:
            picture = live_picture(recording, *_SVG_SIZE)
            write_svg(self._svg, picture, title="make demo", size=_SVG_SIZE)
            self._svg = None
        now_s = time.monotonic()
        if now_s - self._shown_s < (_FRAME_S if self._live else _TEXT_INTERVAL_S):
            return
        self._shown_s = now_s
        size = self._console.size
        if self._live:
            picture = live_picture(recording, size.width, size.height)
            self._live.update(picture, refresh=True)
        else:
            self._console.out(plain_text(recording))

    def __enter__(self) -> Self:
        """Start the live display."""
        if self._live:
            self._live.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Restore the terminal."""
        if self._live:
            self._live.stop()
