# SPDX-License-Identifier: Apache-2.0
"""Decodes the bytes that a terminal sends into keys; pure."""

from __future__ import annotations

from enum import StrEnum
from typing import Final

ESCAPE: Final = b"\x1b"


class Special(StrEnum):
    """Keys without a character; any other key is the character that it types."""

    UP = "<up>"
    DOWN = "<down>"
    PAGE_UP = "<page up>"
    PAGE_DOWN = "<page down>"
    HOME = "<home>"
    END = "<end>"
    ENTER = "<enter>"
    ESCAPE = "<escape>"
    BACKSPACE = "<backspace>"
    UNKNOWN = "<unknown>"
    """An escape sequence that is not in the table."""


_CONTROLS: Final = {
    "\r": Special.ENTER,
    "\n": Special.ENTER,
    "\x7f": Special.BACKSPACE,
    "\b": Special.BACKSPACE,
}
_SEQUENCES: Final = {
    "A": Special.UP,
    "B": Special.DOWN,
    "H": Special.HOME,
    "F": Special.END,
    "1~": Special.HOME,
    "4~": Special.END,
    "5~": Special.PAGE_UP,
    "6~": Special.PAGE_DOWN,
    "7~": Special.HOME,
    "8~": Special.END,
}
"""Keys by what follows ESC [ or ESC O.

Source: xterm's ctlseqs, "PC-Style Function Keys"; 7~ and 8~ are sent by rxvt.
"""


def decode_keys(data: bytes) -> list[str]:
    """Split input from a terminal into keys: characters and members of `Special`."""
    text, keys, at = data.decode(errors="ignore"), list[str](), 0
    while at < len(text):
        if text[at] == "\x1b":
            key, at = _sequence(text, at + 1)
        else:
            key, at = _CONTROLS.get(text[at], text[at]), at + 1
        if isinstance(key, Special) or key.isprintable():
            keys.append(key)
    return keys


def _sequence(text: str, at: int) -> tuple[str, int]:
    """Parse what follows an ESC; return the key and the offset of the next one."""
    if text[at : at + 1] not in ("[", "O") or at + 1 >= len(text):
        return Special.ESCAPE, at
    end = at + 1
    while end < len(text) - 1 and not _is_final(text[end]):
        end += 1
    found = _SEQUENCES.get(text[at + 1 : end + 1], Special.UNKNOWN)
    return found, end + 1


def _is_final(char: str) -> bool:
    return "@" <= char <= "~"
