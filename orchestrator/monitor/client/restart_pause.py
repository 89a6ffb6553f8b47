# SPDX-License-Identifier: Apache-2.0
"""How long to wait before a monitor process is started again."""

from __future__ import annotations

STABLE_AFTER_S = 10.0
"""A process that ran for longer did not die of its start."""
FIRST_S = 0.1
LONGEST_S = 5.0


class RestartPause:
    """Doubles the pause with each death soon after a start.

    The first death has none: guests are waiting. Pure. Synchronization: the owner.
    """

    def __init__(self) -> None:
        self._early_deaths = 0

    def count(self, ran_s: float) -> None:
        """Count a death of a process that ran for so many seconds."""
        self._early_deaths = 1 if ran_s >= STABLE_AFTER_S else self._early_deaths + 1

    @property
    def seconds(self) -> float:
        """The pause before the next start, in seconds."""
        doublings = min(self._early_deaths, 10) - 2
        return min(LONGEST_S, FIRST_S * 2**doublings) if doublings >= 0 else 0.0
