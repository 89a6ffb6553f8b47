"""A table before it is drawn: words, what they mean, and what may be left out."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import TypeAlias


class Look(Enum):
    """What a word is, for whoever chooses its colour."""

    PLAIN = "plain"
    """An ordinary word."""
    NAME = "name"
    """What the row is about."""
    GOOD = "good"
    """As it should be."""
    NOTABLE = "notable"
    """Somebody chose it: an override, a disabled channel."""
    BAD = "bad"
    """Somebody should look."""
    QUIET = "quiet"
    """There, but not important."""


@dataclass(frozen=True, slots=True)
class Cell:
    """One word of a table."""

    text: str
    look: Look = Look.PLAIN
    bare: str | None = None
    """What a plain table says instead: digits without separators, for scripts."""


@dataclass(frozen=True, slots=True)
class Bar:
    """A value between two ends, to be drawn; plain tables leave it out."""

    fraction: float | None
    """0 to 1; None: nothing to draw."""
    look: Look = Look.GOOD


Field: TypeAlias = "Cell | Bar"


@dataclass(frozen=True, slots=True, kw_only=True)
class Column:
    """One column of a table."""

    title: str
    is_right: bool = False
    """Numbers stand at the right, where a table is drawn."""
    rank: int = 0
    """The highest is left out first where there is no room; 0 always stays."""
    is_picture: bool = False
    """Drawn only; a plain table has no such column."""
    is_grouping: bool = False
    """Drawn once for equal neighbours; a plain table repeats it, for scripts."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sheet:
    """Facts, then a table, then notes; each of them may be empty."""

    facts: tuple[tuple[str, Cell], ...] = ()
    columns: tuple[Column, ...] = ()
    rows: tuple[tuple[Field, ...], ...] = ()
    notes: tuple[Cell, ...] = ()
