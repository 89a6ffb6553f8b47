# SPDX-License-Identifier: Apache-2.0
"""What a command writes: lines of text, errors with hints, JSON documents.

Names and reasons come from other programs, so control characters in them are replaced.
"""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING

from orchestrator.values.safe_text import printable_json, printable_lines

if TYPE_CHECKING:
    from collections.abc import Mapping


SCHEMA = 1
"""Version of the JSON documents: grows when a key changes its meaning."""


def echo(text: str, *, err: bool = False) -> None:
    """Write lines to stdout, or to stderr."""
    stream = sys.stderr if err else sys.stdout
    stream.write(printable_lines(text) + "\n")
    stream.flush()


def echo_error(message: str, hint: str = "") -> None:
    """Write an error, and how to fix it if that is known, to stderr."""
    echo(f"error: {message}", err=True)
    if hint:
        echo(f"hint: {hint}", err=True)


class Hints:
    """Hints of a command that succeeds: lines on stderr, or a key of its document.

    Synchronization: none required, one command per process.
    """

    def __init__(self, *, is_json: bool) -> None:
        self._is_json = is_json
        self.texts: list[str] = []
        """For the document; empty if they were written to stderr."""

    def add(self, text: str) -> None:
        """Write a hint, or keep it for the document."""
        if self._is_json:
            self.texts.append(text)
        else:
            echo(f"hint: {text}", err=True)


def print_json(document: Mapping[str, object]) -> None:
    """Write a document to stdout as indented JSON, with its schema."""
    text = json.dumps(_with_schema(document), indent=2, ensure_ascii=False)
    sys.stdout.write(printable_json(text) + "\n")


def print_json_line(document: Mapping[str, object]) -> None:
    """Write a document to stdout as one line of JSON, with its schema, and flush it."""
    text = json.dumps(_with_schema(document), ensure_ascii=False)
    sys.stdout.write(printable_json(text) + "\n")
    sys.stdout.flush()


def print_json_error(message: str, hint: str, status: int) -> None:
    """Write the failure of a command to stderr as one line of JSON.

    Standard output has the command's own document or nothing, so that its readers need
    not distinguish two kinds.
    """
    failure = {"message": message, "hint": hint, "status": status}
    text = json.dumps(_with_schema({"error": failure}), ensure_ascii=False)
    sys.stderr.write(printable_json(text) + "\n")
    sys.stderr.flush()


def _with_schema(document: Mapping[str, object]) -> dict[str, object]:
    # The status document has the daemon's.
    return {"schema": SCHEMA, **document}
