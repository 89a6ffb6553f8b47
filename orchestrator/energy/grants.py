# SPDX-License-Identifier: Apache-2.0
"""At which frequencies the cores of clock groups ran in an interval.

Theory of operation: the monitor process adds up for how long each step was granted, at
each change. The difference of two readings is exact, whatever happened between them,
but not in which order. The first and the last frequency are known, so that one change
between two readings is exact in time, too. That matters only for clock groups that the
hardware coordinates: their cores run at the highest frequency of all of them. If
several of these change more often than once in an interval, they are assumed to change
at the same time.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

_SHORTEST = 1e-6
"""Shares of an interval below this are errors of rounding."""


class GrantTimes(NamedTuple):
    """For how long each step was granted to a clock group."""

    began_ns: int
    """Since when (monotonic): another monitor process begins again."""
    steps_khz: tuple[int, ...]
    none_ns: int
    """For how long no step was granted."""
    steps_ns: tuple[int, ...]
    """For how long each step was; all until the last change of the grant."""

    def pending_ns(self, at_ns: int) -> int:
        """Return for how long the grant has been the present one, at a time."""
        return at_ns - self.began_ns - self.none_ns - sum(self.steps_ns)


class GroupSample(NamedTuple):
    """A clock group's frequency at a time."""

    khz: int | None
    """Its grant; None: it is not taken."""
    times: GrantTimes | None
    """For how long each step was granted; None: unknown."""
    measured_khz: int | None
    """The latest that the kernel reported; None: unknown."""

    @property
    def known_khz(self) -> int:
        """What is known of its frequency; 0: nothing."""
        return self.khz or self.measured_khz or 0


Timeline: TypeAlias = "tuple[tuple[float, int], ...]"
"""Frequencies in kHz, one after the other, each with its share of an interval."""


def follow(old: GroupSample, new: GroupSample, old_ns: int, new_ns: int) -> Timeline:
    """Return the frequencies of a clock group between two samples.

    Without times, a frequency that has changed counts for half of the interval.

    Args:
        old: the first sample.
        new: the second one.
        old_ns: when (monotonic) the grants of the first sample were read.
        new_ns: when those of the second were.
    """
    first, last = old.known_khz, new.known_khz
    if first == last and old.times == new.times:
        return ((1.0, last),)
    spent = _find_spent(old, new, old_ns, new_ns)
    total = sum(spent.values())
    if not total:
        return ((0.5, first), (0.5, last)) if first != last else ((1.0, last),)
    begins, ends = spent.pop(first, 0), spent.pop(last, 0)
    if first == last:
        begins = ends = begins // 2
    parts = [(begins, first), *((ns, khz) for khz, ns in spent.items()), (ends, last)]
    return tuple((ns / total, khz) for ns, khz in parts if ns)


def _find_spent(
    old: GroupSample, new: GroupSample, old_ns: int, new_ns: int
) -> dict[int, int]:
    """Return for how long each step was granted, in ns by kHz; empty: unknown."""
    before, after = old.times, new.times
    if before is None or after is None:
        return {}
    if (before.began_ns, before.steps_khz) != (after.began_ns, after.steps_khz):
        return {}
    pairs = zip(before.steps_ns, after.steps_ns, strict=True)
    spent = dict(zip(after.steps_khz, (b - a for a, b in pairs), strict=False))
    if old.khz in spent:
        spent[old.khz] -= before.pending_ns(old_ns)
    if new.khz in spent:
        spent[new.khz] += after.pending_ns(new_ns)
    # A reading may fall between two writes of the monitor.
    return {khz: ns for khz, ns in spent.items() if ns > 0}


def find_fastest(timelines: Sequence[Timeline]) -> Timeline:
    """Return the highest of several frequencies at each time; none: unknown (0)."""
    if len(timelines) == 1:
        return timelines[0]
    ends = sorted({end for timeline in timelines for end in _ends(timeline)})
    result, start = [], 0.0
    for end in ends:
        if end - start > _SHORTEST:
            middle = (start + end) / 2
            khz = max(_khz_at(timeline, middle) for timeline in timelines)
            result.append((end - start, khz))
            start = end
    return tuple(result) or ((1.0, 0),)


def _ends(timeline: Timeline) -> Iterable[float]:
    end = 0.0
    for share, _ in timeline:
        end += share
        yield end


def _khz_at(timeline: Timeline, at: float) -> int:
    ends = zip(_ends(timeline), timeline, strict=True)
    return next((khz for end, (_, khz) in ends if at < end), timeline[-1][1])
