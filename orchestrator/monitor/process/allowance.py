# SPDX-License-Identifier: Apache-2.0
"""Rate limit for messages about policies, and their tickets."""

from __future__ import annotations

MAX_BURST = 16
"""Messages about policies that a channel may send after a long silence."""


REFILL_NS = 50_000_000
"""Time after which a channel may send one more: 20 messages per second."""


class Allowance:
    """A token bucket: how many messages about policies a channel may send now."""

    __slots__ = ("_full_at_ns",)

    def __init__(self) -> None:
        self._full_at_ns = 0

    def spend(self, now_ns: int, *, keep: int) -> bool:
        """Use one message, unless fewer than `keep` would be left."""
        full_at_ns = max(self._full_at_ns, now_ns) + REFILL_NS
        if full_at_ns - now_ns > (MAX_BURST - keep) * REFILL_NS:
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
