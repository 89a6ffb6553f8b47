# SPDX-License-Identifier: Apache-2.0
"""The user's selections, and what a key changes: (view, key) -> view.

Synchronization: none required, everything here is immutable.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import Enum, StrEnum
from typing import TYPE_CHECKING

from cli.output.keys import Special

if TYPE_CHECKING:
    from collections.abc import Callable

_PAGE_ROWS = 10


class Page(Enum):
    """A page of the dashboard."""

    OVERVIEW = "overview"
    """CPUs, domains, warnings and events."""
    DOMAIN = "domain"
    """One domain in detail."""
    WARNINGS = "warnings"
    """All warnings and the latest events."""
    HELP = "help"
    """Keys, symbols and terms."""


class Sort(StrEnum):
    """The sort order of domains; the value is the title of the column."""

    NAME = "Domain"
    FREQUENCY = "Frequency"
    """The highest first."""
    RATE = "Req/s"
    """The most requests per second first."""
    REFUSED = "Refused"
    """The most refused requests first."""


@dataclass(frozen=True, slots=True, kw_only=True)
class View:
    """The state that keys change."""

    page: Page = Page.OVERVIEW
    behind: Page = Page.OVERVIEW
    """The page that closing the help returns to."""
    cursor: str | None = None
    """UUID of the selected domain."""
    scroll: int = 0
    """First visible row of a long page."""
    sort: Sort = Sort.NAME
    filter: str = ""
    """Only domains whose names contain this text are listed."""
    is_typing: bool = False
    """Whether characters are added to the filter."""
    has_shut_off: bool = False
    """Whether domains that are shut off are listed, after the others."""
    is_paused: bool = False
    is_quitting: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Layout:
    """What the last screen showed, as far as keys depend on it."""

    uuids: tuple[str, ...] = ()
    """Of the listed domains, in order."""
    scroll_limit: int = 0
    """The largest useful value of `View.scroll`."""


def press(view: View, key: str, layout: Layout) -> View:
    """Return the view after a key."""
    if view.is_typing:
        return _type(view, key)
    if key in _COMMANDS:
        return _COMMANDS[key](view)
    if key in _STEPS:
        return _move(view, _STEPS[key], layout)
    return view


def matches(view: View, name: str) -> bool:
    """Return whether a domain's name matches the filter."""
    return view.filter.casefold() in name.casefold()


def _type(view: View, key: str) -> View:
    match key:
        case Special.ENTER:
            return replace(view, is_typing=False)
        case Special.ESCAPE:
            return replace(view, is_typing=False, filter="")
        case Special.BACKSPACE:
            return replace(view, filter=view.filter[:-1])
        case Special():
            return view
        case _:
            return replace(view, filter=view.filter + key)


def _quit(view: View) -> View:
    return replace(view, is_quitting=True)


def _pause(view: View) -> View:
    return replace(view, is_paused=not view.is_paused)


def _sort(view: View) -> View:
    orders = list(Sort)
    return replace(view, sort=orders[(orders.index(view.sort) + 1) % len(orders)])


def _all(view: View) -> View:
    return replace(view, has_shut_off=not view.has_shut_off)


def _filter(view: View) -> View:
    return replace(view, page=Page.OVERVIEW, is_typing=True)


def _enter(view: View) -> View:
    if view.page is Page.OVERVIEW and view.cursor is not None:
        return replace(view, page=Page.DOMAIN, scroll=0)
    return view


def _warnings(view: View) -> View:
    page = Page.OVERVIEW if view.page is Page.WARNINGS else Page.WARNINGS
    return replace(view, page=page, scroll=0)


def _help(view: View) -> View:
    if view.page is Page.HELP:
        return _back(view)
    return replace(view, page=Page.HELP, behind=view.page, scroll=0)


def _back(view: View) -> View:
    """Leave the page; in the overview, clear the filter, then the selection."""
    match view.page:
        case Page.HELP:
            return replace(view, page=view.behind, scroll=0)
        case Page.OVERVIEW:
            if view.filter:
                return replace(view, filter="")
            return replace(view, cursor=None)
        case _:
            return replace(view, page=Page.OVERVIEW, scroll=0)


def _move(view: View, step: int, layout: Layout) -> View:
    if view.page is not Page.OVERVIEW:
        scroll = min(max(0, view.scroll + step), layout.scroll_limit)
        return replace(view, scroll=scroll)
    if not layout.uuids:
        return replace(view, cursor=None)
    count = len(layout.uuids)
    # Without a selection, start before the first or after the last.
    at = -1 if step > 0 else count
    if view.cursor in layout.uuids:
        at = layout.uuids.index(view.cursor)
    return replace(view, cursor=layout.uuids[min(max(0, at + step), count - 1)])


_END = 1 << 30
_COMMANDS: dict[str, Callable[[View], View]] = {
    "q": _quit,
    "p": _pause,
    " ": _pause,
    "s": _sort,
    "a": _all,
    "/": _filter,
    "w": _warnings,
    "?": _help,
    "h": _help,
    Special.ENTER: _enter,
    Special.ESCAPE: _back,
}
_STEPS: dict[str, int] = {
    Special.UP: -1,
    "k": -1,
    Special.DOWN: 1,
    "j": 1,
    Special.PAGE_UP: -_PAGE_ROWS,
    Special.PAGE_DOWN: _PAGE_ROWS,
    Special.HOME: -_END,
    Special.END: _END,
}
KEYS = (
    ("q", "quit"),
    ("p, space", "pause or resume"),
    ("s", "sort domains by name, frequency, request rate or refusals"),
    ("a", "show or hide domains that are shut off"),
    ("/", "filter domains by name"),
    ("up, down, k, j", "select a domain, or scroll a page"),
    ("page up, page down", "move by ten; home and end: to the first and the last"),
    ("enter", "show the selected domain"),
    ("w", "show all warnings and events"),
    ("?, h", "show this help"),
    ("escape", "go back; in the overview, clear the filter, then the selection"),
)
"""For the help page and the manual."""
