# SPDX-License-Identifier: Apache-2.0
"""Everything that the dashboard knows at one moment."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from cli.output.tables.run_state import order_domains
from cli.output.tables.status import is_managed, status_warnings
from cli.top.view import Sort, View, matches

if TYPE_CHECKING:
    from datetime import datetime

    from cli.output.tables.sheet import Cell
    from cli.top.history import History
    from orchestrator.control.documents import Domain, EventRecord, Status

_LETTERS = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
NO_LETTER = "+"
"""Stands for all domains after the letters are used up."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """The latest status, events, and the history before them."""

    status: Status
    history: History
    events: tuple[EventRecord, ...] = ()
    """The newest last."""
    host: str
    now: datetime
    """In the time zone for display."""
    unreachable: str | None = None
    """Why the daemon does not respond; everything else is then as last received."""


def managed_domains(snapshot: Snapshot) -> list[Domain]:
    """Return the domains that have channels or policies; others are not shown."""
    return [domain for domain in snapshot.status["domains"] if is_managed(domain)]


def listed_domains(snapshot: Snapshot, view: View) -> list[Domain]:
    """Return the domains that match the filter, in the view's order.

    Those that are shut off come last, if the view has them.
    """
    found = [d for d in managed_domains(snapshot) if matches(view, d["name"])]
    found.sort(key=lambda domain: _natural(domain["name"]))
    if view.sort is not Sort.NAME:
        found.sort(
            key=lambda domain: _weight(snapshot, view.sort, domain), reverse=True
        )
    return order_domains(found, has_shut_off=view.has_shut_off)


def _weight(snapshot: Snapshot, sort: Sort, domain: Domain) -> float:
    match sort:
        case Sort.FREQUENCY:
            return snapshot.history.domain_khz.latest(domain["uuid"]) or 0.0
        case Sort.RATE:
            return snapshot.history.domain_rates.latest(domain["uuid"]) or 0.0
        case _:
            return count_refused(domain)


def count_refused(domain: Domain) -> int:
    """Count the refused requests of a domain."""
    return sum(channel["nacks_total"] for channel in domain["channels"])


def domain_letters(snapshot: Snapshot) -> dict[str, str]:
    """Map the UUID of each active managed domain to a letter, regardless of the filter.

    Domains that are shut off are not on the map of CPUs.
    """
    active = order_domains(managed_domains(snapshot), has_shut_off=False)
    domains = sorted(active, key=lambda domain: _natural(domain["name"]))
    return {
        domain["uuid"]: _LETTERS[at] if at < len(_LETTERS) else NO_LETTER
        for at, domain in enumerate(domains)
    }


def _natural(name: str) -> list[tuple[int, str]]:
    """Return a key that sorts vm-2 before vm-10."""
    parts = re.findall(r"[0-9]+|[^0-9]+", name.casefold())
    return [
        (int(part) if part.isascii() and part.isdigit() else 0, part) for part in parts
    ]


def warnings(snapshot: Snapshot) -> list[Cell]:
    """Return all warnings, the most severe first."""
    return status_warnings(snapshot.status)
