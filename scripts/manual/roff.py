# SPDX-License-Identifier: Apache-2.0
"""Formats text with the macros of man(7).

Source: man(7) of groff and mandoc; groff_char(7).
"""

from __future__ import annotations

import re
import textwrap
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

_WIDTH = 78
_CODE = re.compile(r"`([^`]+)`")
_OPTION = re.compile(r"(?<![\w-])(--?[a-z][\w-]*)")


def title(name: str, section: int, *, date: str, source: str, manual: str) -> list[str]:
    """Start a page."""
    words = " ".join([f'"{date}"', f'"{escape(source)}"', f'"{escape(manual)}"'])
    return [r".\" Generated from the code by 'make man'; do not edit.",
            f'.TH "{escape(name.upper())}" "{section}" {words}']  # fmt: skip


def heading(text: str) -> list[str]:
    """Start a section."""
    return [f'.SH "{escape(text)}"']


def subheading(text: str) -> list[str]:
    """Start a subsection."""
    return [f'.SS "{escape(text)}"']


def text(words: str) -> list[str]:
    """Format paragraphs separated by empty lines; `code` and options become bold."""
    lines: list[str] = []
    for paragraph in words.strip().split("\n\n"):
        lines += [".PP", *_filled(paragraph)]
    return lines


def item(term: str, words: str) -> list[str]:
    """Format a term, which is roff already, and its description."""
    first, *more = words.strip().split("\n\n")
    lines = [".TP", _safe(term), *(_filled(first) or [r"\&"])]
    for paragraph in more:
        lines += [".IP", *_filled(paragraph)]
    return lines


def indented(lines: Iterable[str]) -> list[str]:
    """Indent lines."""
    return [".RS", *lines, ".RE"]


def verbatim(lines: Iterable[str]) -> list[str]:
    """Format lines without filling."""
    return [".PP", ".nf", ".RS", *(_safe(escape(line)) for line in lines), ".RE", ".fi"]


def bold(words: str) -> str:
    """Format literal text."""
    return rf"\fB{escape(words)}\fR"


def italic(words: str) -> str:
    """Format a placeholder."""
    return rf"\fI{escape(words)}\fR"


def spelling(words: str) -> str:
    """Format an option with its value: `-o, --output table|json`."""
    marked_words = (
        bold(word) if word.startswith("-") else italic(word)
        for word in re.split(r"(, | / | )", words)
        if word
    )
    return re.sub(r"\\fI(, | / | )\\fR", r"\1", "".join(marked_words))


def marked(words: str) -> str:
    """Escape text, with `code` and options in bold."""
    parts = _CODE.split(words)
    return "".join(
        bold(part) if index % 2 else _with_options(part)
        for index, part in enumerate(parts)
    )


def _with_options(words: str) -> str:
    parts = _OPTION.split(words)
    return "".join(
        bold(part) if index % 2 else escape(part) for index, part in enumerate(parts)
    )


def escape(words: str) -> str:
    """Escape text for roff."""
    plain = words.replace("\\", r"\e").replace("-", r"\-").replace('"', r"\(dq")
    return "".join(c if c.isascii() else rf"\[u{ord(c):04X}]" for c in plain)


def _filled(paragraph: str) -> list[str]:
    """Wrap a paragraph, so that the source is readable too."""
    whole = marked(" ".join(paragraph.split()))
    found = textwrap.wrap(whole, _WIDTH, break_long_words=False, break_on_hyphens=False)
    return [_safe(line) for line in found]


def _safe(line: str) -> str:
    """Protect a line that looks like a request."""
    return rf"\&{line}" if line.startswith((".", "'")) else line
