# SPDX-License-Identifier: Apache-2.0
"""Times of the week as people write them (``mon-fri 08:00-18:00``) and as hours.

Wall clock times in the zone of the moment that is compared, so that daylight saving
time needs no special case: a window that begins at 08:00 begins at 08:00 all year.
Synchronization: none required, everything here is immutable.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from orchestrator.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from datetime import datetime

DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
"""In the order of datetime.weekday()."""
EVERY_DAY = frozenset(range(len(DAYS)))
HOURS = 24
DAY_MIN = HOURS * 60
"""Minutes of a day by the clock on the wall."""

_WINDOW = re.compile(
    r"(?P<days>[a-z]+(?:[-,][a-z]+)*)?\s*(?P<times>[\d:]+\s*-\s*[\d:]+)?"
)
_TIME = re.compile(r"(\d{1,2}):(\d{2})")
_EXPECTED = "expected 09:00-17:00 or mon-fri 08:00-18:00"


@dataclass(frozen=True, slots=True, kw_only=True)
class Window:
    """A period of time that repeats every week."""

    days: frozenset[int]
    """The days on which it begins; 0 is Monday."""
    begin_min: int
    """Minute of the day at which it begins."""
    length_min: int
    """At most a day; it may extend into the next one."""

    @property
    def edges_min(self) -> tuple[int, int]:
        """The minutes of the day at which it begins and ends."""
        return self.begin_min % DAY_MIN, (self.begin_min + self.length_min) % DAY_MIN

    def covers(self, moment: datetime) -> bool:
        """Return whether it covers a moment, by the wall clock of the moment's zone."""
        today, minute = moment.weekday(), moment.hour * 60 + moment.minute
        yesterday = (today - 1) % len(DAYS)
        return (today in self.days and self._lasts(minute)) or (
            yesterday in self.days and self._lasts(minute + DAY_MIN)
        )

    def _lasts(self, minute: int) -> bool:
        return self.begin_min <= minute < self.begin_min + self.length_min


def is_within(windows: Iterable[Window], moment: datetime) -> bool:
    """Return whether any of the windows covers a moment."""
    return any(window.covers(moment) for window in windows)


def whole_hours(hours: Iterable[int]) -> tuple[Window, ...]:
    """Return windows of every day for these hours (0 to 23), one for those in a row."""
    return tuple(
        Window(days=EVERY_DAY, begin_min=first * 60, length_min=(last - first + 1) * 60)
        for first, last in _runs(hours)
    )


def parse_window(text: str) -> Window:
    """Read ``mon-fri 08:00-18:00``; either half may be left out.

    An end that is not after the beginning is on the next day; 24:00 is midnight.

    Raises:
        ConfigError: it is invalid.
    """
    match = _WINDOW.fullmatch(text.strip().lower())
    if match is None or not (match["days"] or match["times"]):
        raise ConfigError(f"invalid time '{text}': {_EXPECTED}")
    begin, end = 0, DAY_MIN
    if match["times"]:
        first, _, last = match["times"].partition("-")
        begin, end = _parse_time(first.strip(), text), _parse_time(last.strip(), text)
    if begin in (end, DAY_MIN):
        raise ConfigError(f"invalid time '{text}': it ends when it begins")
    return Window(
        days=_parse_days(match["days"], text) if match["days"] else EVERY_DAY,
        begin_min=begin,
        length_min=end - begin if end > begin else end - begin + DAY_MIN,
    )


def format_window(window: Window) -> str:
    """Write a window so that `parse_window` reads the same one."""
    begin, end = window.begin_min, window.begin_min + window.length_min
    last = end if end <= DAY_MIN else end - DAY_MIN
    times = f"{_format_time(begin)}-{_format_time(last)}"
    if window.days == EVERY_DAY:
        return times
    return f"{','.join(map(_format_days, _runs(window.days)))} {times}"


def _format_days(run: tuple[int, int]) -> str:
    first, last = (DAYS[day] for day in run)
    sign = "," if run[1] == run[0] + 1 else "-"
    return first if first == last else f"{first}{sign}{last}"


def _runs(numbers: Iterable[int]) -> Iterator[tuple[int, int]]:
    """Return the first and the last of each row of numbers, in order."""
    chosen = sorted(set(numbers))
    firsts = [it for it in chosen if it - 1 not in chosen]
    lasts = [it for it in chosen if it + 1 not in chosen]
    return zip(firsts, lasts, strict=True)


def _format_time(minute: int) -> str:
    return f"{minute // 60:02}:{minute % 60:02}"


def _parse_time(word: str, text: str) -> int:
    match = _TIME.fullmatch(word)
    minute = int(match[1]) * 60 + int(match[2]) if match else -1
    if match is None or int(match[2]) >= 60 or minute > DAY_MIN:
        raise ConfigError(f"invalid time '{text}': {_EXPECTED}")
    return minute


def _parse_days(words: str, text: str) -> frozenset[int]:
    days: set[int] = set()
    for word in words.split(","):
        first, dash, last = word.partition("-")
        if first not in DAYS or (dash and last not in DAYS):
            raise ConfigError(
                f"invalid day '{word}' in '{text}': expected {', '.join(DAYS)}"
            )
        begin = DAYS.index(first)
        count = (DAYS.index(last or first) - begin) % len(DAYS) + 1
        days |= {(begin + step) % len(DAYS) for step in range(count)}
    return frozenset(days)
