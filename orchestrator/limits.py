# SPDX-License-Identifier: Apache-2.0
"""Fits frequencies to the limits of the host, the kernel and a domain.

All such arithmetic is here: the limits of several sources become a window of a
frequency table, and every frequency that is voted for, granted, set by an operator or
shown is fitted to such a window.

Frequencies are rounded up, because a vCPU must not be slower than requested, but never
above an upper limit: a limit between two steps must not be exceeded. The same holds if
no step is within the limits. If even the lowest step is above the upper limit, that
step is used, because the hardware has no lower one.

Pure, and imported by the monitor process: import nothing heavier than ``typing`` here.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from orchestrator.values.frequencies import FrequencyTable

UNLIMITED_KHZ = 1 << 40
"""An upper limit that no hardware reaches."""


class Limits(NamedTuple):
    """The lowest and the highest frequency that one source permits."""

    min_khz: int = 0
    max_khz: int = UNLIMITED_KHZ

    @classmethod
    def of(cls, min_khz: int | None, max_khz: int | None) -> Limits:
        """Return limits from options that may be missing (None)."""
        return cls(min_khz or 0, max_khz or UNLIMITED_KHZ)

    def within(self, other: Limits) -> Limits:
        """Return the intersection; min exceeds max if the two contradict each other."""
        return Limits(
            max(self.min_khz, other.min_khz), min(self.max_khz, other.max_khz)
        )


NO_LIMITS = Limits()


class Window(NamedTuple):
    """The steps of a table within limits, at least one; see `window_of`."""

    table: FrequencyTable
    low_khz: int
    """The lowest step in it."""
    high_khz: int
    """The highest step in it."""

    @property
    def khz(self) -> tuple[int, ...]:
        """Its steps, descending."""
        steps = self.table.khz
        return tuple(khz for khz in steps if self.low_khz <= khz <= self.high_khz)

    @property
    def middle_khz(self) -> int:
        """The step nearest to the middle between the lowest and the highest.

        The middle of the frequencies, not of the table, so that it is the same for
        tables that are denser at one end. Of two that are equally near, the higher.
        """
        twice = self.low_khz + self.high_khz
        return min(self.khz, key=lambda khz: abs(2 * khz - twice))

    def clamp(self, khz: int) -> int:
        """Return the nearest step in the window.

        Args:
            khz: a step of the table.
        """
        return min(max(khz, self.low_khz), self.high_khz)

    def fit(self, khz: int) -> int:
        """Round any frequency to a step in the window, upwards if possible."""
        return self.clamp(self.table.round_up(khz))

    def step_up(self, khz: int) -> int:
        """Return the next step above `khz` in the window, else its highest."""
        return self.clamp(self.table.up_from(self.clamp(khz)))

    def step_down(self, khz: int) -> int:
        """Return the next step below `khz` in the window, else its lowest."""
        return self.clamp(self.table.down_from(self.clamp(khz)))


def window_of(table: FrequencyTable, *limits: Limits) -> Window:
    """Return the steps within all limits.

    Args:
        table: what the hardware offers.
        limits: of the host, the kernel, a domain, in any order.
    """
    low_khz, high_khz = NO_LIMITS
    for each in limits:
        low_khz, high_khz = max(low_khz, each.min_khz), min(high_khz, each.max_khz)
    highest = table.round_down(high_khz)
    return Window(table, min(table.round_up(low_khz), highest), highest)


def held_limits(window: Window) -> Limits:
    """Return the limits that keep a clock group in a window, whatever its governor is.

    The kernel shows a limit as it was written only if it is a step.
    """
    table = window.table
    return Limits(
        0 if window.low_khz == table.lowest_khz else window.low_khz,
        UNLIMITED_KHZ if window.high_khz == table.highest_khz else window.high_khz,
    )


def turbo_limit(table: FrequencyTable, *, is_allowed: bool) -> Limits:
    """Return the limit that keeps a vCPU below turbo, or no limit."""
    return NO_LIMITS if is_allowed else Limits(max_khz=table.nominal_khz)
