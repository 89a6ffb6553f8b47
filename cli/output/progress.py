# SPDX-License-Identifier: Apache-2.0
"""A progress line for long operations; shown on a terminal only."""

from __future__ import annotations

import os
import sys
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

DELAY_S = 1.0
"""Operations that take less than this show nothing."""


@contextmanager
def working(message: str, *, delay_s: float = DELAY_S) -> Iterator[None]:
    """Show a progress line on standard error while the block runs.

    The line is erased afterwards. The block itself must not write anything.

    Args:
        message: what is being done, as in "starting 'fw'".
        delay_s: seconds before the line is shown.
    """
    if not sys.stderr.isatty() or os.environ.get("TERM") == "dumb":
        yield
        return
    done = threading.Event()
    thread = threading.Thread(target=_show, args=(message, delay_s, done), daemon=True)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()


def _show(message: str, delay_s: float, done: threading.Event) -> None:
    if done.wait(delay_s):
        return
    from rich.console import Console
    from rich.live import Live
    from rich.spinner import Spinner
    from rich.text import Text

    line = Spinner("dots", Text(f"{message} ..."))
    with Live(
        line,
        console=Console(stderr=True),
        transient=True,
        redirect_stdout=False,
        redirect_stderr=False,
    ):
        done.wait()
