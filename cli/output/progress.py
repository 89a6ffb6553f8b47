"""What takes long is said, on a terminal; a pipe hears nothing of it."""

from __future__ import annotations

import os
import sys
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

PATIENCE_S = 1.0
"""What ends within this time is not worth a word."""


@contextmanager
def working(words: str, *, patience_s: float = PATIENCE_S) -> Iterator[None]:
    """Show what is being done, below what is written, while the block lasts.

    On standard error, which results never go to; the line is gone afterwards. The
    block itself must write nothing.

    Args:
        words: what is being done, as in "starting 'fw'".
        patience_s: seconds before anything is shown.
    """
    if not sys.stderr.isatty() or os.environ.get("TERM") == "dumb":
        yield
        return
    done = threading.Event()
    thread = threading.Thread(target=_show, args=(words, patience_s, done), daemon=True)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()


def _show(words: str, patience_s: float, done: threading.Event) -> None:
    if done.wait(patience_s):
        return
    from rich.console import Console
    from rich.live import Live
    from rich.spinner import Spinner
    from rich.text import Text

    line = Spinner("dots", Text(f"{words} ..."))
    with Live(
        line,
        console=Console(stderr=True),
        transient=True,
        redirect_stdout=False,
        redirect_stderr=False,
    ):
        done.wait()
