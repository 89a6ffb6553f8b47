"""The terminal's other screen; what it showed before comes back at the end."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.live import Live

if TYPE_CHECKING:
    from rich.console import Console


def full_screen(console: Console) -> Live:
    """Return a screen to draw on when somebody says so."""
    return Live(
        console=console,
        screen=True,
        auto_refresh=False,
        redirect_stdout=False,
        redirect_stderr=False,
    )
