# SPDX-License-Identifier: Apache-2.0
"""A table before it is rendered: cells, their meaning, and what may be dropped."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import TypeAlias


class Style(Enum):
    """What a cell means; the renderer chooses a color for it."""

    PLAIN = "plain"
    """An ordinary value."""
    NAME = "name"
    """The subject of the row."""
    GOOD = "good"
    """In order."""
    NOTABLE = "notable"
    """Set by an operator: an override, a disabled channel."""
    BAD = "bad"
    """Needs attention."""
    QUIET = "quiet"
    """Of minor importance."""


@dataclass(frozen=True, slots=True)
class Cell:
    """One value of a table."""

    text: str
    style: Style = Style.PLAIN
    bare: str | None = None
    """Replaces the text in plain tables: digits without separators, for scripts."""


@dataclass(frozen=True, slots=True)
class Bar:
    """A value between two limits, drawn as a bar; omitted from plain tables."""

    fraction: float | None
    """0 to 1; None: nothing to draw."""
    style: Style = Style.GOOD


Field: TypeAlias = "Cell | Bar"


@dataclass(frozen=True, slots=True, kw_only=True)
class Column:
    """One column of a table."""

    title: str
    is_right: bool = False
    """Whether a drawn table aligns it to the right, as numbers are."""
    rank: int = 0
    """The highest rank is dropped first on a narrow terminal; 0 is always shown."""
    is_picture: bool = False
    """Whether it is drawn only; plain tables have no such column."""
    is_grouping: bool = False
    """Whether equal values in a row are drawn once; plain tables repeat them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sheet:
    """Facts, then a table, then notes; each may be empty."""

    facts: tuple[tuple[str, Cell], ...] = ()
    columns: tuple[Column, ...] = ()
    rows: tuple[tuple[Field, ...], ...] = ()
    notes: tuple[Cell, ...] = ()
