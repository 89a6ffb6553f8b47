"""What the person looks at, and what a key does to it: (view, key) -> view.

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
    """One of the pictures."""

    OVERVIEW = "overview"
    """CPUs, domains, warnings and events."""
    DOMAIN = "domain"
    """One domain with its vCPUs."""
    WARNINGS = "warnings"
    """All warnings and the latest events."""
    HELP = "help"
    """The keys."""


class Sort(StrEnum):
    """The order of domains; the value is the title of its column."""

    NAME = "Domain"
    CLOCK = "Clock"
    """The fastest first."""
    RATE = "Req/s"
    """Who asks most, first."""
    REFUSED = "Refused"
    """Who is refused most, first."""


@dataclass(frozen=True, slots=True, kw_only=True)
class View:
    """Everything that keys change."""

    page: Page = Page.OVERVIEW
    behind: Page = Page.OVERVIEW
    """The page that help goes back to."""
    cursor: str | None = None
    """UUID of the domain that is selected."""
    scroll: int = 0
    """First row that is seen of a page that is too long."""
    sort: Sort = Sort.NAME
    filter: str = ""
    """Part of the names of the domains that are listed."""
    is_typing: bool = False
    """Whether keys go into the filter."""
    is_paused: bool = False
    is_over: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Drawn:
    """What the last picture showed, as far as keys depend on it."""

    listed: tuple[str, ...] = ()
    """UUIDs of the domains, in their order."""
    scroll_limit: int = 0
    """The largest scroll that still shows something new."""


def press(view: View, key: str, drawn: Drawn) -> View:
    """Return what a key makes of a view."""
    if view.is_typing:
        return _type(view, key)
    if key in _COMMANDS:
        return _COMMANDS[key](view)
    if key in _STEPS:
        return _move(view, _STEPS[key], drawn)
    return view


def matches(view: View, name: str) -> bool:
    """Tell whether the filter lets a domain through."""
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
    return replace(view, is_over=True)


def _pause(view: View) -> View:
    return replace(view, is_paused=not view.is_paused)


def _sort(view: View) -> View:
    orders = list(Sort)
    return replace(view, sort=orders[(orders.index(view.sort) + 1) % len(orders)])


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
    """Undo one step: the page, then the filter, then the selection."""
    match view.page:
        case Page.HELP:
            return replace(view, page=view.behind, scroll=0)
        case Page.OVERVIEW:
            if view.filter:
                return replace(view, filter="")
            return replace(view, cursor=None)
        case _:
            return replace(view, page=Page.OVERVIEW, scroll=0)


def _move(view: View, step: int, drawn: Drawn) -> View:
    if view.page is not Page.OVERVIEW:
        scroll = min(max(0, view.scroll + step), drawn.scroll_limit)
        return replace(view, scroll=scroll)
    if not drawn.listed:
        return replace(view, cursor=None)
    count = len(drawn.listed)
    # Without a selection one stands before the first, or behind the last.
    at = -1 if step > 0 else count
    if view.cursor in drawn.listed:
        at = drawn.listed.index(view.cursor)
    return replace(view, cursor=drawn.listed[min(max(0, at + step), count - 1)])


_END = 1 << 30
_COMMANDS: dict[str, Callable[[View], View]] = {
    "q": _quit,
    "p": _pause,
    " ": _pause,
    "s": _sort,
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
    ("p, space", "pause, and go on"),
    ("s", "sort domains by name, clock, requests a second, refusals"),
    ("/", "list only domains whose name contains what you type"),
    ("up, down, k, j", "select a domain; scroll its page"),
    ("page up, page down", "the same, ten at a time; home and end: all the way"),
    ("enter", "show the selected domain with its vCPUs and events"),
    ("w", "show all warnings and events"),
    ("?, h", "this help"),
    ("escape", "back; on the overview drop the filter, then the selection"),
)
"""The keys for the page of help and for the manual."""
