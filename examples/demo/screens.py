"""Where the show appears: live on a terminal, else as plain text now and then."""

from __future__ import annotations

import io
import re
import time
from typing import TYPE_CHECKING, Self

from rich.console import Console
from rich.live import Live

from examples.demo.picture import live_picture
from examples.demo.snapshot import plain_snapshot

if TYPE_CHECKING:
    from pathlib import Path
    from types import TracebackType

    from examples.demo.recording import Recording

_FRAME_S = 0.25
_SNAPSHOT_EVERY_S = 3.0
_SVG_SIZE = (100, 40)
_SVG_AT = 0.9
"""Part of the show after which the picture is saved: much was seen, all still work."""
_FONT_FACE = re.compile(r"@font-face \{.*?\}\s*", re.DOTALL)


class Screen:
    """Shows a recording as it grows, not more often than a person can follow.

    Synchronization: one thread.
    """

    def __init__(self, console: Console, *, is_plain: bool, svg: Path | None) -> None:
        """Prepare.

        Args:
            console: where to.
            is_plain: text now and then, also on a terminal.
            svg: file in which to save the live picture when the show is nearly over.
        """
        self._console = console
        self._svg = svg
        self._shown_s = float("-inf")
        self._live: Live | None = None
        if console.is_terminal and not is_plain:
            self._live = Live(console=console, auto_refresh=False, screen=True)

    def show(self, recording: Recording) -> None:
        """Show this moment, if the last one is old enough.

        Raises:
            OSError: the file of the picture cannot be written.
        """
        if self._svg and recording.at_s > _SVG_AT * recording.scene.seconds:
            save_svg(recording, self._svg)
            self._svg = None
        now_s = time.monotonic()
        if now_s - self._shown_s < (_FRAME_S if self._live else _SNAPSHOT_EVERY_S):
            return
        self._shown_s = now_s
        size = self._console.size
        if self._live:
            picture = live_picture(recording, size.width, size.height)
            self._live.update(picture, refresh=True)
        else:
            self._console.out(plain_snapshot(recording))

    def __enter__(self) -> Self:
        """Begin."""
        if self._live:
            self._live.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """End; what the terminal showed before comes back."""
        if self._live:
            self._live.stop()


def save_svg(recording: Recording, path: Path) -> None:
    """Save the live picture of this moment.

    Raises:
        OSError: the file cannot be written.
    """
    width, height = _SVG_SIZE
    console = Console(
        file=io.StringIO(),
        record=True,
        force_terminal=True,
        color_system="truecolor",
        width=width,
        height=height,
        highlight=False,
    )
    console.print(live_picture(recording, width, height))
    svg = console.export_svg(title="make demo")
    # rich asks for fonts from another site; a picture should not call anybody.
    path.write_text(_FONT_FACE.sub("", svg), encoding="utf-8")
