# SPDX-License-Identifier: Apache-2.0
"""The frequencies at which clock groups were last found to run, with their times.

What reads them for another purpose notes them here: the status, and the verification of
taken groups, which reads them only while they are used. So a scrape of metrics reads no
sysfs, which costs much on a host with many CPUs.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

WANTED_S = 300.0
"""How long readings are wanted after the last use: some scrapes may be missed."""


class ObtainedFrequencies:
    """The last reading of each clock group.

    Synchronization: any thread: each reading is one assignment to a dictionary, and
    they are copied in one call of C, which CPython interrupts for no other thread.
    """

    def __init__(self, now_s: Callable[[], float] = time.monotonic) -> None:
        self._now_s = now_s
        self._used_s = float("-inf")
        self._latest: dict[int, tuple[int, float]] = {}

    def note(self, khz_by_group: Mapping[int, int | None], at_s: float) -> None:
        """Keep what was read.

        Args:
            khz_by_group: kHz by number of the clock group; None: not known.
            at_s: when (monotonic).
        """
        for number, khz in khz_by_group.items():
            if khz is not None:
                self._latest[number] = (khz, at_s)

    def since(self, at_s: float) -> dict[int, int]:
        """Return kHz by clock group, for those that were read after a time."""
        self._used_s = self._now_s()
        latest = list(self._latest.items())
        return {number: khz for number, (khz, read_s) in latest if read_s >= at_s}

    @property
    def is_wanted(self) -> bool:
        """Whether they were used lately, so that groups should be read for them."""
        return self._now_s() - self._used_s < WANTED_S
