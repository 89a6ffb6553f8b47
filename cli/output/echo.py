"""Lines that a command writes: what strangers named shows, and is not obeyed."""

import sys

from orchestrator.values.safe_text import printable_lines


def say(text: str, *, err: bool = False) -> None:
    """Write lines to stdout, or to stderr, whatever names and reasons are in them."""
    stream = sys.stderr if err else sys.stdout
    stream.write(printable_lines(text) + "\n")
    stream.flush()
