# SPDX-License-Identifier: Apache-2.0
"""Limits the share of the monitor's time that one guest may use.

Theory of operation: a guest that waits for its answers sends one packet at a time, and
is always served. A guest that sends bursts is read in smaller pieces if they take long
to serve, so that no turn is long; and it is paused when it has used its share, so that
turns are not too frequent. What it sends meanwhile stays in its socket, and then in the
guest: nothing is lost, and other guests are not affected.

Pure: no clock, no socket. Synchronization: the owner of the share.
"""

from __future__ import annotations

from orchestrator.channel.recognition import MAX_PACKETS

TURN_NS = 30_000
"""Target length of a turn. A whole read of requests with plans takes a third of it."""
MIN_PACKETS = 2
"""Minimum of packets read at once: a turn of one packet is not part of a burst, so that
the number would never grow again."""
PARTS = 20
"""A guest may use one part in this many of the time."""
CREDIT_NS = 1_000_000
"""How far a guest may exceed its share before it is paused: 50 us of time."""
MAX_PAUSE_NS = 2_000_000
"""The longest pause: guests wait 10 ms for an answer."""


class TimeShare:
    """The time share of one guest."""

    __slots__ = ("_paid_at_ns", "is_paused", "max_packets")

    def __init__(self) -> None:
        self.max_packets = MAX_PACKETS
        """How many packets are read at once."""
        self.is_paused = False
        """Whether the guest is not read for a while."""
        self._paid_at_ns = 0
        """When (monotonic) the time used so far will equal its share."""

    def charge(self, took_ns: int, now_ns: int) -> int:
        """Account for a turn.

        Args:
            took_ns: CPU time of the turn.
            now_ns: the time (monotonic) after it.

        Returns:
            When (monotonic) the next one may be; 0: at once.
        """
        if took_ns > TURN_NS:
            self.max_packets = max(MIN_PACKETS, self.max_packets // 2)
        elif took_ns < TURN_NS // 2:
            self.max_packets = min(MAX_PACKETS, self.max_packets * 2)
        paid_at_ns = max(self._paid_at_ns, now_ns) + took_ns * PARTS
        self._paid_at_ns = min(paid_at_ns, now_ns + MAX_PAUSE_NS)
        return self._paid_at_ns if self._paid_at_ns > now_ns + CREDIT_NS else 0
