"""What counters said at two moments, and what happened in between; pure.

Counters only grow; one that went back began anew, and says nothing about the time
before. What cannot be said is None.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

NS_PER_S = 1_000_000_000


class TrafficReading(NamedTuple):
    """Packets that interfaces have received."""

    at_s: float
    """When it was read, by the monotonic clock."""
    packets: Mapping[str, int]
    """By MAC address."""


class BranchCounter(NamedTuple):
    """A CPU's counters, which count whoever runs there."""

    branches: int
    misses: int
    running_ns: int
    """For how long they have counted: the kernel can take them away for a while."""


class BranchReading(NamedTuple):
    """Branches that CPUs have retired."""

    at_s: float
    counters: Mapping[int, BranchCounter]
    """By host CPU."""


class UtilisationReading(NamedTuple):
    """For how long vCPUs have run."""

    at_s: float
    run_ns: Mapping[int, int]
    """By vCPU."""


Reading = TrafficReading | BranchReading | UtilisationReading


def packets_per_s(old: TrafficReading, new: TrafficReading) -> float | None:
    """Return the rate of all interfaces together.

    None also where an interface came or went: then the sums are of different things.
    """
    elapsed_s = new.at_s - old.at_s
    if elapsed_s <= 0 or old.packets.keys() != new.packets.keys() or not new.packets:
        return None
    received = [count - old.packets[mac] for mac, count in new.packets.items()]
    return None if min(received) < 0 else sum(received) / elapsed_s


def utilisation(
    old: UtilisationReading, new: UtilisationReading, vcpu: int
) -> float | None:
    """Return the part of the time for which a vCPU ran, 0 to 1."""
    elapsed_s = new.at_s - old.at_s
    if elapsed_s <= 0 or vcpu not in old.run_ns or vcpu not in new.run_ns:
        return None
    ran_ns = new.run_ns[vcpu] - old.run_ns[vcpu]
    # Run time comes in ticks and is read a moment before or after the clock.
    return None if ran_ns < 0 else min(1.0, ran_ns / NS_PER_S / elapsed_s)


def branch_count(
    old: BranchReading, new: BranchReading, pcpus: Iterable[int]
) -> BranchCount | None:
    """Return what the CPUs of one vCPU did together."""
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


class BranchCount(NamedTuple):
    """What happened between two readings of a vCPU's branch counters."""

    branches: int
    misses: int
    elapsed_s: float
    """More than zero."""
