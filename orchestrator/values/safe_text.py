"""Text of other people, made harmless for a terminal and for a log.

A terminal obeys control characters, also the 32 that Latin-1 has above 0x7F, and a
log takes what stands behind a line's end for a line of its own. Names of domains, keys
of messages and reasons of others may hold all of them.
"""

from __future__ import annotations

import json


def printable(text: str) -> str:
    """Put a mark where a character is none that can be seen."""
    return "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in text)


def printable_lines(text: str) -> str:
    """Make text harmless, and keep its lines."""
    return "\n".join(map(printable, text.split("\n")))


def printable_json(text: str) -> str:
    """Escape in JSON what cannot be seen: it says the same, and does no harm."""
    if text.replace("\n", "").isprintable():
        return text
    return "".join(
        c if c.isprintable() or c == "\n" else json.dumps(c)[1:-1] for c in text
    )
