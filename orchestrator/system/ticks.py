# SPDX-License-Identifier: Apache-2.0
"""When work that is repeated at intervals is due.

All of it is due at multiples of its interval, so that one wake-up serves everything due
at that time: an idle process spends more on waking than on most of what it then does.
"""

from __future__ import annotations

import asyncio
import math

_EARLY = 0.001
"""Share of an interval by which a timer may fire early."""


def next_tick(now_s: float, interval_s: float) -> float:
    """Return the next time that is a multiple of an interval.

    Args:
        now_s: the time of any clock, in seconds.
        interval_s: the interval.

    Returns:
        A time of the same clock; one interval later, or sooner.
    """
    return (math.floor(now_s / interval_s + _EARLY) + 1) * interval_s


async def wait_for_tick(interval_s: float) -> None:
    """Wait until the next multiple of an interval, by the loop's clock."""
    now_s = asyncio.get_running_loop().time()
    await asyncio.sleep(next_tick(now_s, interval_s) - now_s)
