# SPDX-License-Identifier: Apache-2.0
"""Limits how many requests a channel may send per second.

Theory of operation: a channel has a credit for each window of time, and each read
costs one, a burst one for each packet. So the common path only counts down. When the
credit is used up before its window is over, the guest is not read until the next one:
what it sends stays in its socket, and then in the guest. A guest that exceeds its
budget in most windows for long, or that sends much garbage, is reported to main.

The share of the monitor's time (see `share`) is a second limit, for bursts.

Pure: no clock, no socket. Synchronization: the owner of the budget.
"""

from __future__ import annotations

from orchestrator.monitor.process.allowance import Allowance

UNLIMITED = 0
"""In place of a number of requests."""
WINDOW_NS = 100_000_000
MAX_STRIKES = 100
"""Windows in which a guest may exceed its budget, beyond those in which it does not:
10 s without a break."""
MAX_DEBT = 10
"""The longest pause, in windows. One read can cost more than the credit of a window."""
MAX_GARBAGE = 1_000
GARBAGE_REFILL_NS = 100_000_000
"""A channel may send this many malformed pieces at once, and ten a second: a guest that
starts another program or system sends a few."""

_WINDOWS_PER_S = 1_000_000_000 // WINDOW_NS
_ENDLESS = 1 << 60


class Budget:
    """The budget of one channel."""

    __slots__ = ("_began_ns", "_garbage", "_strikes", "per_window")

    def __init__(self, per_s: int = UNLIMITED) -> None:
        """Create a full budget.

        Args:
            per_s: requests per second; `UNLIMITED`: any number, and any garbage.
        """
        limited = max(1, per_s // _WINDOWS_PER_S)
        self.per_window = limited if per_s else _ENDLESS
        """The credit of a window. How much of it is left is kept by the endpoint."""
        self._began_ns = 0
        self._strikes = 0
        self._garbage = Allowance(MAX_GARBAGE, GARBAGE_REFILL_NS)

    def renew(self, credit: int, now_ns: int) -> int:
        """Begin the next window: the credit is used up.

        Args:
            credit: what is left of it, below 0.
            now_ns: the time (monotonic).

        Returns:
            When the guest may be read again (monotonic); 0: at once, as the window of
            the credit was over.
        """
        debt = min((-1 - credit) // self.per_window, MAX_DEBT - 1)
        windows = (now_ns - self._began_ns) // WINDOW_NS
        if windows > debt:
            self._strikes = max(0, self._strikes - windows)
            self._began_ns = now_ns
            return 0
        self._strikes += 1
        self._began_ns = max(self._began_ns + WINDOW_NS, now_ns) + debt * WINDOW_NS
        return self._began_ns

    def take_strikes(self) -> bool:
        """Return whether the budget was exceeded for too long; start over if so."""
        is_exceeded = self._strikes >= MAX_STRIKES
        if is_exceeded:
            self._strikes = 0
        return is_exceeded

    def spend_garbage(self, now_ns: int) -> bool:
        """Count a malformed piece; return False if there were too many."""
        is_limited = self.per_window != _ENDLESS
        return not is_limited or self._garbage.spend(now_ns)
