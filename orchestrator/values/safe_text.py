# SPDX-License-Identifier: Apache-2.0
"""Makes foreign text safe to show on a terminal and in a log.

A terminal interprets control characters, including the 32 of Latin-1 above 0x7F, and a
newline forges a log entry. Names of domains, keys of messages and texts of other
programs may contain any of them.
"""

from __future__ import annotations

import json


def printable(text: str) -> str:
    """Replace each unprintable character by U+FFFD."""
    return "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in text)


def printable_lines(text: str) -> str:
    """Replace unprintable characters, except newlines."""
    return "\n".join(map(printable, text.split("\n")))


def printable_json(text: str) -> str:
    """Escape unprintable characters in JSON, which does not change its meaning."""
    if text.replace("\n", "").isprintable():
        return text
    return "".join(
        c if c.isprintable() or c == "\n" else json.dumps(c)[1:-1] for c in text
    )
