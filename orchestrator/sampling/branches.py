"""Branches of host CPUs; each CPU's counters are opened once, whoever looks at them."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from orchestrator.sampling.perf_event import EventPair, PairCounter
from orchestrator.sampling.question import SamplingError
from orchestrator.sampling.readings import BranchCounter

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable


class BranchCounters:
    """The open counters, by host CPU.

    Synchronization: any thread; the lock is held for microseconds.
    """

    def __init__(self, pair: EventPair = EventPair.BRANCHES) -> None:
        """Open nothing yet.

        Args:
            pair: what to count; another one than branches is for trying the way there.
        """
        self._pair = pair
        self._open: dict[int, PairCounter] = {}
        self._lock = threading.Lock()

    def find_obstacle(self, pcpus: Iterable[int]) -> str | None:
        """Say why these CPUs' branches cannot be counted; None: they can be."""
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
            # Opened anew when the CPU is back.
            self._open.pop(pcpu).close()
            raise

    def keep(self, pcpus: Collection[int]) -> None:
        """Close the counters of all other CPUs."""
        with self._lock:
            for pcpu in self._open.keys() - set(pcpus):
                self._open.pop(pcpu).close()
