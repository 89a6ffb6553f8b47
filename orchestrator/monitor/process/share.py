"""How much of the monitor's time one guest may have.

Theory of operation: a guest that waits for its answers sends one packet at a time, and
is served whenever it does. Who sends many at once is read less at once if they take
long to serve, so that nobody waits long for its turn's end; and not read for a while
when it had its share, so that few have to wait. What it sends meanwhile stays in its
socket, and then in the guest: nothing is lost, and nobody else pays.

Pure: no clock, no socket. Synchronization: whoever owns the share.
"""

from __future__ import annotations

from orchestrator.channel.recognition import MAX_PACKETS

TURN_NS = 30_000
"""How long a turn may take. A whole read of requests that have plans takes a third."""
FEWEST_PACKETS = 2
"""Read at once at least: a turn of one is none of a burst, and would never show that
more can be read again."""
PARTS = 20
"""A guest may have one part in so many of the time."""
CREDIT_NS = 1_000_000
"""A guest goes on until its share is used up for so long: after 50 us at once."""
MOST_REST_NS = 2_000_000
"""The longest rest: it may not have been the guest that made a turn long, but whoever
had the CPU meanwhile, and guests wait 10 ms for an answer."""


class Share:
    """One guest's."""

    __slots__ = ("_paid_at_ns", "is_resting", "most_packets")

    def __init__(self) -> None:
        self.most_packets = MAX_PACKETS
        """How many packets are read at once."""
        self.is_resting = False
        """Whether the guest is not read for a while."""
        self._paid_at_ns = 0
        """When (monotonic) what it has had will be its share of the time."""

    def charge(self, took_ns: int, now_ns: int) -> int:
        """Take account of a turn.

        Returns:
            When (monotonic) the next one may be; 0: at once.
        """
        if took_ns > TURN_NS:
            self.most_packets = max(FEWEST_PACKETS, self.most_packets // 2)
        elif took_ns < TURN_NS // 2:
            self.most_packets = min(MAX_PACKETS, self.most_packets * 2)
        paid_at_ns = max(self._paid_at_ns, now_ns) + took_ns * PARTS
        self._paid_at_ns = min(paid_at_ns, now_ns + MOST_REST_NS)
        return self._paid_at_ns if self._paid_at_ns > now_ns + CREDIT_NS else 0
