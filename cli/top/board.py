"""What is known at the moment of a picture."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from cli.output.tables.status import status_notes, takes_part
from cli.top.view import Sort, View, matches

if TYPE_CHECKING:
    from datetime import datetime

    from cli.output.tables.sheet import Cell
    from cli.top.history import History
    from orchestrator.control.documents import Domain, EventRecord, Status

_MARKS = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
MANY = "+"
"""The mark of all domains that are left when the letters are used up."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Board:
    """One look at the daemon, and what was remembered of those before."""

    status: Status
    history: History
    events: tuple[EventRecord, ...] = ()
    """The newest last."""
    host: str
    now: datetime
    """In the zone in which times are shown."""
    gone: str | None = None
    """Why the daemon does not answer; the rest is as it was last known."""


def taking_part(board: Board) -> list[Domain]:
    """Return the domains that have channels or policies: this is about them."""
    return [domain for domain in board.status["domains"] if takes_part(domain)]


def listed(board: Board, view: View) -> list[Domain]:
    """Return the domains that the filter lets through, in the view's order."""
    found = [d for d in taking_part(board) if matches(view, d["name"])]
    found.sort(key=lambda domain: _natural(domain["name"]))
    if view.sort is not Sort.NAME:
        found.sort(key=lambda domain: _weight(board, view.sort, domain), reverse=True)
    return found


def _weight(board: Board, sort: Sort, domain: Domain) -> float:
    match sort:
        case Sort.CLOCK:
            return board.history.domain_clocks.latest(domain["uuid"]) or 0.0
        case Sort.RATE:
            return board.history.domain_rates.latest(domain["uuid"]) or 0.0
        case _:
            return refused(domain)


def refused(domain: Domain) -> int:
    """Count what was refused to a domain."""
    return sum(channel["nacks_total"] for channel in domain["channels"])


def marks(board: Board) -> dict[str, str]:
    """Give every domain that takes part a letter, whatever the filter."""
    domains = sorted(taking_part(board), key=lambda domain: _natural(domain["name"]))
    return {
        domain["uuid"]: _MARKS[at] if at < len(_MARKS) else MANY
        for at, domain in enumerate(domains)
    }


def _natural(name: str) -> list[tuple[int, str]]:
    """Sort vm-2 before vm-10."""
    words = re.findall(r"[0-9]+|[^0-9]+", name.casefold())
    return [
        (int(word) if word.isascii() and word.isdigit() else 0, word) for word in words
    ]


def warnings(board: Board) -> list[Cell]:
    """Return everything that is not as one may expect, the worst first."""
    return status_notes(board.status)
