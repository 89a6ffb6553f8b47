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


def print_json(document: Mapping[str, object]) -> None:
    """Write a document to stdout as indented JSON."""
    text = json.dumps(document, indent=2, ensure_ascii=False)
    sys.stdout.write(printable_json(text) + "\n")


def print_json_line(document: Mapping[str, object]) -> None:
    """Write a document to stdout as one line of JSON, and flush it."""
    text = json.dumps(document, ensure_ascii=False)
    sys.stdout.write(printable_json(text) + "\n")
    sys.stdout.flush()
