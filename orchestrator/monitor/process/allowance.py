# SPDX-License-Identifier: Apache-2.0
"""Rate limits, such as that for messages about policies, and tickets of policies."""

from __future__ import annotations

MAX_BURST = 16
"""Messages about policies that a channel may send after a long silence."""
REFILL_NS = 50_000_000
"""Time after which a channel may send one more: 20 messages per second."""


class Allowance:
    """A token bucket: how many messages a channel may send now."""

    __slots__ = ("_full_at_ns", "_max_burst", "_refill_ns")

    def __init__(self, max_burst: int = MAX_BURST, refill_ns: int = REFILL_NS) -> None:
        """Create a full one.

        Args:
            max_burst: messages after a long silence.
            refill_ns: time after which there may be one more.
        """
        self._max_burst = max_burst
        self._refill_ns = refill_ns
        self._full_at_ns = 0

    def spend(self, now_ns: int, *, keep: int = 0) -> bool:
        """Use one message, unless fewer than `keep` would be left."""
        full_at_ns = max(self._full_at_ns, now_ns) + self._refill_ns
        if full_at_ns - now_ns > (self._max_burst - keep) * self._refill_ns:
            return False
        self._full_at_ns = full_at_ns
        return True


class Ticket:
    """A policy whose installation main has been asked for."""

    __slots__ = ("is_accepted", "number")

    def __init__(self, number: int) -> None:
        self.number = number
        self.is_accepted: bool | None = None
        """None: main has not answered yet."""
