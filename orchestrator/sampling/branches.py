# SPDX-License-Identifier: Apache-2.0
"""Branches that host CPUs retired, and how many of them were mispredicted."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING, NamedTuple

from orchestrator.sampling.contract import NS_PER_S, Sampler, SamplingError
from orchestrator.sampling.perf_event import EventPair, PairCounter

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Mapping

    from orchestrator.sampling.contract import SampleTarget


class BranchCounter(NamedTuple):
    """The counters of one host CPU; they count everything that runs on it."""

    branches: int
    misses: int
    running_ns: int
    """For how long they have counted: the kernel can take them away for a while."""


class BranchReading(NamedTuple):
    """Branches that host CPUs have retired."""

    at_s: float
    """When it was read, by the monotonic clock."""
    counters: Mapping[int, BranchCounter]
    """By host CPU."""


class BranchCount(NamedTuple):
    """What happened between two readings of the counters of a vCPU's host CPUs."""

    branches: int
    misses: int
    elapsed_s: float
    """More than zero."""


class BranchCounters:
    """The open counters, by host CPU; each is opened once for all users.

    Synchronization: any thread; the lock is held for microseconds.
    """

    def __init__(self, pair: EventPair = EventPair.BRANCHES) -> None:
        """Open nothing yet.

        Args:
            pair: what to count; tests use another pair, which every machine has.
        """
        self._pair = pair
        self._open: dict[int, PairCounter] = {}
        self._lock = threading.Lock()

    def find_obstacle(self, pcpus: Iterable[int]) -> str | None:
        """Return why the branches of these CPUs cannot be counted; None: they can."""
        try:
            self.read(pcpus)
        except SamplingError as error:
            return str(error)
        return None

    def read(self, pcpus: Iterable[int]) -> dict[int, BranchCounter]:
        """Read the counters of these CPUs, opening those that are not open yet.

        Raises:
            SamplingError: the machine has no such counter, or a CPU has gone offline.
        """
        with self._lock:
            return {pcpu: self._read_one(pcpu) for pcpu in pcpus}

    def _read_one(self, pcpu: int) -> BranchCounter:
        counter = self._open.get(pcpu)
        if counter is None:
            counter = self._open[pcpu] = PairCounter(pcpu, self._pair)
        try:
            return BranchCounter(*counter.read())
        except SamplingError:
            # Reopened when the CPU is back online.
            self._open.pop(pcpu).close()
            raise

    def keep(self, pcpus: Collection[int]) -> None:
        """Close the counters of all other CPUs."""
        with self._lock:
            for pcpu in self._open.keys() - set(pcpus):
                self._open.pop(pcpu).close()


class BranchSampler(Sampler[BranchReading, BranchCount]):
    """Reads the branch counters of host CPUs."""

    def __init__(
        self,
        counters: BranchCounters | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._counters = BranchCounters() if counters is None else counters
        self._clock = clock

    def find_obstacle(self, target: SampleTarget) -> str | None:
        """Return why the target's CPUs have no such counters; None: they have."""
        return self._counters.find_obstacle(target.pcpus)

    def read(self, target: SampleTarget) -> BranchReading:
        """Read the counters of the target's CPUs.

        Raises:
            SamplingError: the machine has no such counter, or a CPU has gone offline.
        """
        counters = self._counters.read(target.pcpus)
        return BranchReading(self._clock(), counters)

    def between(
        self,
        old: BranchReading,
        new: BranchReading,
        cpus: Mapping[int, Collection[int]],
    ) -> Mapping[int, BranchCount]:
        """Return what the host CPUs of each vCPU did together."""
        counts = {vcpu: branch_count(old, new, pcpus) for vcpu, pcpus in cpus.items()}
        return {vcpu: count for vcpu, count in counts.items() if count is not None}

    def keep(self, targets: Collection[SampleTarget]) -> None:
        """Close the counters of CPUs that belong to none of the targets."""
        self._counters.keep(frozenset().union(*(target.pcpus for target in targets)))


def branch_count(
    old: BranchReading, new: BranchReading, pcpus: Iterable[int]
) -> BranchCount | None:
    """Return what some host CPUs did together; None: unknown."""
    changes = []
    for pcpu in pcpus:
        if pcpu not in old.counters or pcpu not in new.counters:
            return None
        pairs = zip(new.counters[pcpu], old.counters[pcpu], strict=True)
        changes.append(BranchCounter(*(now - before for now, before in pairs)))
    if not changes or any(min(item) < 0 or not item.running_ns for item in changes):
        return None
    return BranchCount(
        branches=sum(item.branches for item in changes),
        misses=sum(item.misses for item in changes),
        elapsed_s=max(item.running_ns for item in changes) / NS_PER_S,
    )
