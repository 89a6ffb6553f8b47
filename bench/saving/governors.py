# SPDX-License-Identifier: Apache-2.0
"""What sets frequencies: the kernel's governors, TuneD and DPDK's host.

A governor sees a polling vCPU as a thread that always runs; a policy of DPDK's host
sees the packets of its domain. `bench.saving.vmpower` is compared with them.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, NamedTuple

from bench.saving.host import STEPS
from bench.saving.traffic import QUEUE_SHARES, WORKLOADS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bench.saving.queues import Queue

VCPUS = len(QUEUE_SHARES)
"""Of each domain."""
TARGET_LOAD = 0.475
"""Share of the time for which vCPUs are busy at the thresholds of three levels. Of
0.45, 0.475, 0.5, 0.55 and 0.6 the one with which DPDK's host saves most within twice
the delays."""
_ALWAYS = 1.0
"""Share of the time for which a polling thread runs."""


class Thresholds(NamedTuple):
    """Packets per second of a domain from which a level is set."""

    medium_pps: int
    """The lowest step handles fewer within the target load."""
    high_pps: int
    """The middle step does."""


def thresholds_of(number: int) -> Thresholds:
    """Return what an operator would set for a workload, from its capacity."""
    middle_khz = STEPS.khz[len(STEPS.khz) // 2]
    medium, high = (
        int(VCPUS * TARGET_LOAD * WORKLOADS[number].capacity_pps(khz))
        for khz in (STEPS.lowest_khz, middle_khz)
    )
    return Thresholds(medium, high)


class Contender(ABC):
    """Something that sets the frequency of each vCPU of each domain."""

    name: str
    period_s = 0.1
    """Time between two decisions."""

    def __init__(self) -> None:
        self.khz = [[STEPS.highest_khz] * VCPUS for _ in WORKLOADS]
        """Of the vCPUs of each domain."""

    @abstractmethod
    def decide(self, hour: float, monotonic_s: float) -> None:
        """Set the frequencies for the time until the next decision."""

    def watch(  # noqa: B027 - not all of them read counters
        self, queues: Sequence[Sequence[Queue]]
    ) -> None:
        """Receive the queues of each domain, whose counters it may read."""


class AlwaysHighest(Contender):
    """The highest step: what operators of polling guests configure today."""

    name = "always highest"

    def decide(self, hour: float, monotonic_s: float) -> None:
        """Change nothing."""


class Schedutil(Contender):
    """The kernel's default.

    Source: get_next_freq() of kernel/sched/cpufreq_schedutil.c: 1.25 times the highest
    frequency, times the utilization; a thread that always runs has all of it.
    """

    name = "schedutil"

    def decide(self, hour: float, monotonic_s: float) -> None:  # noqa: ARG002
        """Apply the formula to threads that always run."""
        khz = STEPS.round_up(int(1.25 * STEPS.highest_khz * _ALWAYS))
        self.khz = [[khz] * VCPUS for _ in WORKLOADS]


class Ondemand(Contender):
    """An older governor.

    Source: od_update() of drivers/cpufreq/cpufreq_ondemand.c: the highest frequency
    above a load of 95 % (80 % without fine-grained accounting), below it the load's
    share of the range.
    """

    name = "ondemand"
    _UP_THRESHOLD = 0.95

    def decide(self, hour: float, monotonic_s: float) -> None:  # noqa: ARG002
        """Apply the formula to threads that always run."""
        span_khz = STEPS.highest_khz - STEPS.lowest_khz
        khz = (
            STEPS.highest_khz
            if self._UP_THRESHOLD < _ALWAYS
            else STEPS.round_up(STEPS.lowest_khz + int(_ALWAYS * span_khz))
        )
        self.khz = [[khz] * VCPUS for _ in WORKLOADS]


class TunedPowersave(Ondemand):
    """TuneD's profile for saving power.

    Source: profiles/powersave/tuned.conf of redhat-performance/tuned: it sets the
    governor ondemand. cpu-partitioning, its profile for polling guests, sets
    performance: the first row.
    """

    name = "TuneD powersave"


class AlwaysLowest(Contender):
    """The lowest step: the most that can be saved, at any price."""

    name = "always lowest"

    def decide(self, hour: float, monotonic_s: float) -> None:  # noqa: ARG002
        """Set the lowest step."""
        self.khz = [[STEPS.lowest_khz] * VCPUS for _ in WORKLOADS]


class DpdkTraffic(Contender):
    """DPDK's host with its policy TRAFFIC.

    Source: apply_traffic_profile() of examples/vm_power_manager/channel_monitor.c: the
    rate since the last turn of its loop, which waits for channels for a millisecond and
    sleeps for another, compared with two thresholds.
    """

    name = "DPDK's host, TRAFFIC"
    period_s = 0.002

    def __init__(self) -> None:
        super().__init__()
        self._thresholds = [thresholds_of(number) for number in range(len(WORKLOADS))]
        self._seen = [0.0] * len(WORKLOADS)
        self._queues: Sequence[Sequence[Queue]] = ()

    def watch(self, queues: Sequence[Sequence[Queue]]) -> None:
        """Receive the queues, whose packets it counts."""
        self._queues = queues

    def decide(self, hour: float, monotonic_s: float) -> None:  # noqa: ARG002
        """Compare the rate of each domain with its thresholds."""
        middle_khz = STEPS.khz[len(STEPS.khz) // 2]
        for number, queues in enumerate(self._queues):
            arrived = sum(queue.arrived for queue in queues)
            rate = (arrived - self._seen[number]) / self.period_s
            self._seen[number] = arrived
            limits = self._thresholds[number]
            if rate >= limits.high_pps:
                khz = STEPS.highest_khz
            elif rate >= limits.medium_pps:
                khz = middle_khz
            else:
                khz = STEPS.lowest_khz
            self.khz[number] = [khz] * VCPUS
