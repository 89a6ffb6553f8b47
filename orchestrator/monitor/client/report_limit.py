# SPDX-License-Identifier: Apache-2.0
"""Limits how many reports of one kind main accepts from the monitor.

A working monitor limits most of them itself. But a guest of which the kernel refuses
every other frequency causes a report for each, and a monitor that runs other code sends
any number; each would be a line of the log.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Hashable


class ReportLimit:
    """A token bucket for each source of reports.

    Pure: no clock. Synchronization: the owner.
    """

    def __init__(self, *, burst: int, per_s: float) -> None:
        """Create full buckets.

        Args:
            burst: reports of one source after a long silence.
            per_s: reports of one source per second.
        """
        self._refill_s = 1 / per_s
        self._longest_s = burst * self._refill_s
        self._full_at_s: dict[Hashable, float] = {}

    def admit(self, source: Hashable, now_s: float) -> bool:
        """Count a report; return False if it is one too many.

        Args:
            source: a clock group, or a channel; there are few of them.
            now_s: the time (monotonic).
        """
        full_at_s = max(self._full_at_s.get(source, now_s), now_s) + self._refill_s
        # Half a step more: the times are not exact multiples.
        if full_at_s - now_s > self._longest_s + self._refill_s / 2:
            return False
        self._full_at_s[source] = full_at_s
        return True
