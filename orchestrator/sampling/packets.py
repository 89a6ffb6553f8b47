# SPDX-License-Identifier: Apache-2.0
"""Packets per second that a domain's network interfaces received."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, NamedTuple

from orchestrator.sampling.contract import Sampler
from orchestrator.sampling.interfaces import InterfaceCounters
from orchestrator.sampling.virtual_functions import VirtualFunctionCounters

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping
    from pathlib import Path

    from orchestrator.sampling.contract import SampleTarget


class PacketReading(NamedTuple):
    """Packets that interfaces have received."""

    at_s: float
    """When it was read, by the monotonic clock."""
    packets: Mapping[str, int]
    """By MAC address."""


class PacketSampler(Sampler[PacketReading, float]):
    """Reads the packet counters of interfaces; all vCPUs get the domain's rate."""

    def __init__(
        self, sysfs_root: Path, clock: Callable[[], float] = time.monotonic
    ) -> None:
        virtual_functions = VirtualFunctionCounters(sysfs_root)
        self._interfaces = InterfaceCounters(sysfs_root, virtual_functions.read)
        self._clock = clock

    def find_obstacle(self, target: SampleTarget) -> str | None:
        """Return why the target's interfaces have no counters; None: they may have."""
        return self._interfaces.find_obstacle(target.interfaces)

    def read(self, target: SampleTarget) -> PacketReading:
        """Read the counters of the target's interfaces.

        Raises:
            SamplingError: one of them has no counter, or there is no interface.
        """
        packets = self._interfaces.read(target.interfaces)
        return PacketReading(self._clock(), packets)

    def between(
        self,
        old: PacketReading,
        new: PacketReading,
        cpus: Mapping[int, Collection[int]],
    ) -> Mapping[int, float]:
        """Return packets per second, the same for every vCPU."""
        rate = packets_per_s(old, new)
        return {} if rate is None else dict.fromkeys(cpus, rate)


def packets_per_s(old: PacketReading, new: PacketReading) -> float | None:
    """Return the rate of all interfaces together; None: unknown.

    Unknown also if an interface was added or removed: the sums are not comparable.
    """
    elapsed_s = new.at_s - old.at_s
    if elapsed_s <= 0 or old.packets.keys() != new.packets.keys() or not new.packets:
        return None
    received = [count - old.packets[mac] for mac, count in new.packets.items()]
    return None if min(received) < 0 else sum(received) / elapsed_s
