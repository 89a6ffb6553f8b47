# SPDX-License-Identifier: Apache-2.0
"""On which line of a TOML file a key is set, for messages.

Python's parser of TOML keeps no lines. It is run on one statement after the other: the
fewest lines from the end of the last statement that are valid TOML.
"""

from __future__ import annotations

import tomllib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

_MAX_LINES = 200
"""Of a statement; the time for one is quadratic in its lines."""


class KeyLines:
    """The lines of a file by key, named as in `bounds.max_khz` and `domain[0].match`.

    Synchronization: none required, immutable.
    """

    def __init__(self, text: str) -> None:
        """Find all keys.

        Args:
            text: of a valid file.
        """
        self._lines: dict[str, int] = {}
        arrays: dict[str, int] = {}
        table = ""
        for number, statement in _statements(text):
            keys = list(_keys(tomllib.loads(statement), table))
            if statement.lstrip().startswith("[["):
                name = statement.split("]]")[0].strip().removeprefix("[[").strip()
                arrays[name] = arrays.get(name, -1) + 1
                table = f"{name}[{arrays[name]}]"
                keys = [table]
            elif statement.lstrip().startswith("["):
                table = statement.split("]")[0].strip().removeprefix("[").strip()
                keys = [table]
            for key in keys:
                self._lines.setdefault(key, number)

    def find(self, key: str) -> int | None:
        """Return the line of a key, or of what contains it; None: it is not there."""
        while key:
            if key in self._lines:
                return self._lines[key]
            key = key[: max(key.rfind("."), key.rfind("["), 0)]
        return None


def _statements(text: str) -> Iterator[tuple[int, str]]:
    """Split a text into its statements, each with the number of its first line."""
    lines: list[str] = []
    for number, line in enumerate(text.replace("\r\n", "\n").split("\n"), 1):
        lines.append(line)
        statement = "\n".join(lines)
        if _is_valid(statement):
            yield number - len(lines) + 1, statement
            lines = []
        elif len(lines) > _MAX_LINES:
            return


def _is_valid(statement: str) -> bool:
    try:
        tomllib.loads(statement)
    except tomllib.TOMLDecodeError:
        return False
    return True


def _keys(value: object, name: str) -> Iterator[str]:
    """Name everything inside a value."""
    if isinstance(value, dict):
        for key, item in value.items():
            inside = f"{name}.{key}" if name else key
            yield inside
            yield from _keys(item, inside)
    elif isinstance(value, list):
        for index, item in enumerate(value):
            yield f"{name}[{index}]"
            yield from _keys(item, f"{name}[{index}]")
