# SPDX-License-Identifier: Apache-2.0
"""A receive queue that one vCPU polls, and the delays of its packets.

Theory of operation: between two changes of the rate or the frequency a queue is a
fluid: it grows or drains linearly, and what does not fit into the ring is lost. The
delays of the packets that arrive meanwhile are spread over a few points of the line.
While the queue is empty, packets still wait for those just before them: as in an M/D/1
queue, whose waiting time is about exponential. Each packet is delayed by its own
processing, too, which takes longer at a lower frequency.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bench.saving.traffic import Segment

RING = 2_048
"""Descriptors of a queue; Open vSwitch's default with DPDK."""
_POINTS = 8
"""Delays by which a growing or draining queue is represented."""
_BINS_PER_E = 16
"""Bins of the histogram for each factor of e: a bin is 6 % wide."""
_LEAST_S = 1e-8
_BINS = 320
_WAITS = ((0.5, 0.31), (0.3, 1.13), (0.15, 2.27), (0.045, 3.9), (0.005, 6.3))
"""An exponential distribution: parts of the packets, and their mean wait."""
_NOTHING_S = 1e-12


class Delays:
    """A histogram of delays, weighted.

    Synchronization: one thread.
    """

    def __init__(self) -> None:
        self._counts = [0.0] * _BINS

    def add(self, delay_s: float, packets: float) -> None:
        """Count packets with a delay."""
        at = int(math.log(delay_s / _LEAST_S) * _BINS_PER_E)
        self._counts[min(max(at, 0), _BINS - 1)] += packets

    def quantile_s(self, share: float) -> float:
        """Return the delay that a share of the packets does not exceed.

        Raises:
            ValueError: no packet was counted.
        """
        wanted = share * sum(self._counts)
        if not wanted:
            raise ValueError("no packet")
        seen = 0.0
        for at, count in enumerate(self._counts):
            if seen + count >= wanted and count:
                inside = (wanted - seen) / count
                return _LEAST_S * math.exp((at + inside) / _BINS_PER_E)
            seen += count
        raise AssertionError("the bins hold all packets")


class Queue:
    """A receive queue of a vCPU.

    Synchronization: one thread.
    """

    def __init__(self, delays: Delays) -> None:
        self._delays = delays
        self._segments: Sequence[Segment] = ()
        self._at = 0
        self._left_s = 0.0
        """Of the current segment."""
        self._length = 0.0
        """Packets that wait."""
        self.arrived = 0.0
        """Packets, without weight; a counter."""
        self.busy_s = 0.0
        """Time in which the vCPU handled packets, without weight; a counter."""
        self.weighted_arrivals = 0.0
        self.weighted_losses = 0.0

    def feed(self, segments: Sequence[Segment]) -> None:
        """Set what arrives next; earlier segments must have been used up."""
        self._segments = segments
        self._at = 0
        self._left_s = segments[0][0]

    def advance(self, seconds: float, capacity_pps: float, weight: float) -> None:
        """Let packets arrive and be handled for a time at one frequency."""
        while seconds > _NOTHING_S and self._at < len(self._segments):
            rate = self._segments[self._at][1]
            part_s = min(seconds, self._left_s)
            if self._length or rate > capacity_pps:
                part_s = self._move(part_s, rate, capacity_pps, weight)
            else:
                self._pass(part_s * rate, rate / capacity_pps, capacity_pps, weight)
            seconds -= part_s
            self._left_s -= part_s
            if self._left_s <= _NOTHING_S:
                self._at += 1
                if self._at < len(self._segments):
                    self._left_s = self._segments[self._at][0]

    def _pass(
        self, packets: float, load: float, capacity_pps: float, weight: float
    ) -> None:
        """Handle packets that arrive at an empty queue, at a rate below capacity."""
        own_s = 1 / capacity_pps
        self.arrived += packets
        self.busy_s += packets * own_s
        counted = packets * weight
        self.weighted_arrivals += counted
        self._delays.add(own_s, counted * (1 - load))
        mean_s = own_s / (2 * max(1 - load, 1e-3))
        for part, wait in _WAITS:
            self._delays.add(own_s + wait * mean_s, counted * load * part)

    def _move(
        self, part_s: float, rate: float, capacity_pps: float, weight: float
    ) -> float:
        """Let the queue grow or drain; return after which time, at most `part_s`."""
        before, growth = self._length, rate - capacity_pps
        if growth < 0:
            part_s = min(part_s, before / -growth)
        after = before + growth * part_s
        lost = max(0.0, after - RING)
        after = 0.0 if after < 1e-6 else min(after, RING)
        packets = rate * part_s
        self._length = after
        self.arrived += packets
        self.busy_s += part_s
        self.weighted_arrivals += packets * weight
        self.weighted_losses += lost * weight
        counted = (packets - lost) * weight / _POINTS
        slope = (after - before) / _POINTS
        for point in range(_POINTS):
            length = before + slope * (point + 0.5)
            self._delays.add((length + 1) / capacity_pps, counted)
        return part_s
