# SPDX-License-Identifier: Apache-2.0
"""When a policy changes its level by the time alone, and to what; pure.

Theory of operation: a level can change only at certain minutes of the day
(`Policy.changes_min`) and where daylight saving time begins or ends, so it is enough to
go from one of these moments to the next. The time of day is that of each moment in its
zone, never a sum: a day of 23 hours needs no special case.
Synchronization: none required, nothing is kept.
"""

from __future__ import annotations

from bisect import bisect_left
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import TYPE_CHECKING, Any, NamedTuple

from orchestrator.policy.kinds.want import Level
from orchestrator.policy.timetable import DAY_MIN, DAYS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from orchestrator.policy.kinds.contract import Policy

    Localize = Callable[[datetime], datetime]
    """Converts a moment to the host's local time."""

RECHECK = timedelta(hours=1)
"""How long a computed next change is relied on: the host's zone may be changed."""
HORIZON = timedelta(days=len(DAYS) + 1)
"""Timetables repeat every week: what has not changed by then does not change."""


class ScheduledLevel(StrEnum):
    """What a policy requests at a time."""

    HIGHEST = "highest"
    """The highest frequency."""
    MIDDLE = "middle"
    """The middle frequency."""
    LOWEST = "lowest"
    """The lowest frequency."""
    SAMPLED = "sampled"
    """It depends on what the policy samples, such as traffic."""
    UNCHANGED = "unchanged"
    """The frequency that it requested before."""
    NONE = "none"
    """Nothing: it does not vote."""


_LEVELS: Mapping[Level | None, ScheduledLevel] = {
    Level.MAX: ScheduledLevel.HIGHEST,
    Level.MED: ScheduledLevel.MIDDLE,
    Level.MIN: ScheduledLevel.LOWEST,
    Level.AS_IS: ScheduledLevel.UNCHANGED,
    Level.NO_VOTE: ScheduledLevel.NONE,
    None: ScheduledLevel.SAMPLED,
}


class Change(NamedTuple):
    """A level that a policy has from a moment on."""

    at: datetime
    """In the time zone of the policy, or the host's."""
    level: ScheduledLevel


def find_changes(
    policy: Policy[Any, Any],
    begin: datetime,
    end: datetime,
    to_host_zone: Localize = datetime.astimezone,
) -> Iterator[Change]:
    """Yield the level at a moment, and each change of it before another moment.

    A level of `unchanged` is yielded only at the beginning: afterwards it changes
    nothing.

    Args:
        policy: any; most do not depend on the time.
        begin: aware; the first moment.
        end: aware; the first moment that is of no interest.
        to_host_zone: converts a moment to the host's local time.
    """
    level: ScheduledLevel | None = None
    for at in _moments(policy, begin, end, to_host_zone):
        new = _LEVELS[policy.level_at(at)]
        if level is None or new not in (level, ScheduledLevel.UNCHANGED):
            yield Change(at, new)
            level = new


def next_change(
    policy: Policy[Any, Any],
    now: datetime,
    to_host_zone: Localize = datetime.astimezone,
) -> Change | None:
    """Return the next change of a policy's level; None: it depends on no time."""
    if not policy.changes_min:
        return None
    changes = find_changes(policy, now, now + HORIZON, to_host_zone)
    next(changes)
    return next(changes, None)


class Outlook:
    """The next change of one policy, computed when it is needed, and then kept.

    A timetable of many windows takes a millisecond, and a guest chooses how many.
    Synchronization: one thread.
    """

    __slots__ = ("_change", "_policy", "_valid")

    def __init__(self, policy: Policy[Any, Any]) -> None:
        """Compute nothing yet."""
        self._policy = policy
        self._change: Change | None = None
        self._valid: tuple[datetime, datetime] | None = None

    def next_change(
        self, now: datetime, to_host_zone: Localize = datetime.astimezone
    ) -> Change | None:
        """Return the next change of the policy's level; None: it depends on no time."""
        now = now.astimezone(UTC)
        if self._valid is None or not self._valid[0] <= now < self._valid[1]:
            self._change = next_change(self._policy, now, to_host_zone)
            end = now + RECHECK
            self._valid = now, min(end, self._change.at) if self._change else end
        return self._change


def _moments(
    policy: Policy[Any, Any], begin: datetime, end: datetime, to_host_zone: Localize
) -> Iterator[datetime]:
    """Yield the beginning, and all moments at which the level may change."""
    zone, changes_min = policy.zone, policy.changes_min
    localize = to_host_zone if zone is None else lambda it: it.astimezone(zone)
    # Of two moments in one zone, Python compares the time of day and not the moments.
    end_utc = end.astimezone(UTC)
    moment = localize(begin)
    while moment < end_utc:
        yield moment
        if not changes_min:
            return
        moment = _next_moment(moment, changes_min, localize)


def _next_moment(
    moment: datetime, changes_min: frozenset[int], localize: Localize
) -> datetime:
    minute = moment.hour * 60 + moment.minute
    wait_min = min((it - minute - 1) % DAY_MIN + 1 for it in changes_min)
    whole_utc = moment.replace(second=0, microsecond=0).astimezone(UTC)

    def after(minutes: int) -> datetime:
        return localize(whole_utc + timedelta(minutes=minutes))

    def is_shifted(minutes: int) -> bool:
        return after(minutes).utcoffset() != moment.utcoffset()

    if is_shifted(wait_min):
        # Daylight saving time begins or ends before, which may be a change, too.
        return after(bisect_left(range(wait_min), x=True, key=is_shifted))
    return after(wait_min)
