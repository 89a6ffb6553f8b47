# SPDX-License-Identifier: Apache-2.0
"""A day of traffic: published daily shapes, fluctuations and bursts.

Theory of operation: the rate of a queue is piecewise constant. It is the product of

* the peak rate of its domain and its share of the domain's packets (receive-side
  scaling distributes flows unevenly);
* the shape of the day;
* a fluctuation: log-normal, correlated over some seconds;
* bursts, which arrive at random and last for tens of microseconds. Their rate is either
  a multiple of the rate around them, or one of their own, whatever the time of day.

A few times a day a domain takes over the traffic of a neighbor that failed: its rate
jumps from one packet to the next. The day is sampled: of each quarter of an hour, some
seconds are simulated and count for all of it. The beginning and the end of a takeover
are simulated in full and count once.

Sources:
    Shapes: C. Labovitz, "What Europeans do at Night" and "The Internet After Dark",
    Arbor Networks, 2009 (means of ten weekdays of 25 European and 40 North American
    providers). Business districts: H. Wang et al., "Understanding Mobile Traffic
    Patterns of Large Scale Cellular Towers in Urban Environment", IMC 2015. Published
    are lowest and highest points and their hours; the hours between are interpolated by
    eye, those of business districts as a whole.
    Bursts: Q. Zhang et al., "High-Resolution Measurement of Data Center Microbursts",
    IMC 2017: more than 70 % of bursts last for at most tens of microseconds.
    The size of fluctuations, of bursts and of takeovers is assumed.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    import random
    from collections.abc import Iterator

SECONDS_PER_DAY = 86_400
_HOURS = 24
QUEUE_SHARES = (1.12, 1.04, 0.96, 0.88)
"""Rates of a domain's queues, relative to their mean; one queue for each vCPU."""
SLOT_S = 0.05
"""For so long the rate is constant, except for bursts."""
FLUCTUATION = 0.12
"""Standard deviation of the logarithm of the rate."""
_CORRELATION_SLOTS = 60
BURSTS_PER_S = 60.0
BURST_MEDIAN_S = 30e-6
_BURST_SIGMA = 1.48
"""Of the logarithm: 70 % last for at most 65 us, 90 % for at most 200 us."""
_BURST_MOST_S = 0.4e-3
_BURST_FACTORS = (2.0, 4.0)
"""Rates in bursts, relative to the rate around them."""
_FEWEST_BURSTS = 0.02
"""Of BURSTS_PER_S, at night."""
_OWN_RATES = (0.8, 1.6)
"""Rates that bursts add if they have their own, relative to what the vCPU can handle at
its highest step."""
TAKEOVER_FACTOR = 1.4
TAKEOVER_S = 600.0
_EDGE_S = 4.0
"""Simulated in full after a takeover begins or ends."""

Segment = tuple[float, float]
"""A time in seconds, and the packets per second that arrive meanwhile."""


class Shape(NamedTuple):
    """How traffic varies over a day."""

    name: str
    percent: tuple[int, ...]
    """Of the highest hour, at each full hour."""

    def share(self, hour: float) -> float:
        """Return the rate at a time of day, relative to the highest."""
        at = int(hour)
        here, after = self.percent[at % _HOURS], self.percent[(at + 1) % _HOURS]
        return (here + (after - here) * (hour - at)) / 100


EUROPE = Shape(
    "European consumers",
    (
        *(82, 70, 60, 50, 43, 38, 36, 40, 48, 56, 62, 66),
        *(69, 71, 73, 75, 78, 81, 85, 91, 97, 100, 98, 92),
    ),
)
NORTH_AMERICA = Shape(
    "North American consumers",
    (
        *(90, 80, 70, 62, 54, 50, 50, 54, 60, 66, 71, 75),
        *(78, 81, 84, 87, 88, 86, 83, 82, 85, 91, 97, 100),
    ),
)
BUSINESS = Shape(
    "business district",
    (
        *(12, 9, 8, 7, 7, 8, 12, 25, 50, 80, 98, 100),
        *(90, 88, 95, 97, 94, 85, 65, 50, 40, 32, 24, 17),
    ),
)


class Workload(NamedTuple):
    """What one domain does."""

    name: str
    shape: Shape
    cycles_per_packet: float
    peak_load: float
    """Share of its vCPUs' time that the highest hour needs at the highest step."""
    takeover_hour: float

    def capacity_pps(self, khz: int) -> float:
        """Return the packets per second that one vCPU can handle."""
        return khz * 1000 / self.cycles_per_packet


WORKLOADS = (
    Workload("router", EUROPE, 800, 0.36, 20.9),
    Workload("firewall", BUSINESS, 1_200, 0.42, 3.1),
    Workload("mobile gateway", EUROPE, 1_600, 0.40, 6.1),
    Workload("load balancer", NORTH_AMERICA, 900, 0.38, 14.6),
)
"""Each with a vCPU for each of QUEUE_SHARES."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """A part of the day that is simulated."""

    hour: float
    seconds: float
    weight: float
    """It counts for so many times its length."""
    takeover: int | None = None
    """Number of the workload that handles a neighbor's traffic, too."""


def sample_day(samples: int, sample_s: float) -> Iterator[Sample]:
    """Yield the samples of a day, in their order.

    Args:
        samples: number of parts of the day.
        sample_s: how much of each is simulated.
    """
    part_s = SECONDS_PER_DAY / samples
    plain = [
        Sample(
            hour=index * _HOURS / samples, seconds=sample_s, weight=part_s / sample_s
        )
        for index in range(samples)
    ]
    for sample in plain:
        yield sample
        for number, workload in enumerate(WORKLOADS):
            hour = workload.takeover_hour
            if sample.hour <= hour < sample.hour + _HOURS / samples:
                yield from _takeover(hour, number, sample_s)


def _takeover(hour: float, number: int, sample_s: float) -> Iterator[Sample]:
    middle = (TAKEOVER_S - _EDGE_S) / sample_s
    yield Sample(hour=hour, seconds=_EDGE_S, weight=1, takeover=number)
    yield Sample(hour=hour, seconds=sample_s, weight=middle, takeover=number)
    yield Sample(hour=hour, seconds=_EDGE_S, weight=1)


class Source:
    """The packets that arrive at one queue.

    Synchronization: one thread.
    """

    def __init__(
        self, mean_pps: float, rng: random.Random, own_burst_pps: float | None = None
    ) -> None:
        """Prepare the queue's traffic.

        Args:
            mean_pps: in the highest hour.
            rng: decides about fluctuations and bursts.
            own_burst_pps: the capacity that the rates of bursts are relative to, so
                that their number follows the traffic and not their rate; None: their
                rate follows it.
        """
        self._mean_pps = mean_pps
        self._rng = rng
        self._own_burst_pps = own_burst_pps
        self._deviation = 0.0

    def segments(self, share: float, seconds: float) -> list[Segment]:
        """Return what arrives in a time in which the day's share is constant."""
        found: list[Segment] = []
        for _ in range(round(seconds / SLOT_S)):
            rate = self._mean_pps * share * self._fluctuate()
            self._add_slot(found, rate)
        return found

    def _fluctuate(self) -> float:
        kept = 1 - 1 / _CORRELATION_SLOTS
        news = math.sqrt(1 - kept * kept) * FLUCTUATION
        self._deviation = kept * self._deviation + self._rng.gauss(0, news)
        return math.exp(self._deviation - FLUCTUATION**2 / 2)

    def _add_slot(self, found: list[Segment], rate: float) -> None:
        rng, left_s = self._rng, SLOT_S
        own_pps, frequency = self._own_burst_pps, BURSTS_PER_S
        if own_pps is not None:
            frequency *= max(_FEWEST_BURSTS, rate / self._mean_pps)
        while True:
            quiet_s = rng.expovariate(frequency)
            burst_s = min(
                _BURST_MOST_S, BURST_MEDIAN_S * rng.lognormvariate(0, _BURST_SIGMA)
            )
            if quiet_s + burst_s >= left_s:
                found.append((left_s, rate))
                return
            found.append((quiet_s, rate))
            burst_pps = (
                rate * rng.uniform(*_BURST_FACTORS)
                if own_pps is None
                else rate + own_pps * rng.uniform(*_OWN_RATES)
            )
            found.append((burst_s, burst_pps))
            left_s -= quiet_s + burst_s
