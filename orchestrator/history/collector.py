# SPDX-License-Identifier: Apache-2.0
"""Collects what the history keeps of the present minute; pure.

Theory of operation: counters of channels only grow while their domain runs, and begin
at zero when it was off, so the difference of two readings is what happened, and a
counter that went back counts whole. Holds are sampled; each sample stands for the time
since the one before.

Synchronization: one thread.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from typing import TYPE_CHECKING, NamedTuple

from orchestrator.energy.residency import combine
from orchestrator.history.minute import DomainMinute, HoldTime, Minute, Requests

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from orchestrator.energy.residency import DomainEnergy, EnergyInterval
    from orchestrator.history.holds import Hold, HoldCause
    from orchestrator.history.minute import EventRow
    from orchestrator.values.domain import DomainId

LONGEST_SAMPLE_S = 60.0
"""A longer time between two samples was not observed: the host was suspended."""


class ChannelCounts(NamedTuple):
    """The counters of one channel."""

    requests: Requests
    refusals: Mapping[str, int]


class DomainCounts(NamedTuple):
    """The counters of one running domain."""

    name: str
    channels: Mapping[int, ChannelCounts]
    vcpus: int = 0
    """How many it has."""


Counts = "Mapping[DomainId, DomainCounts]"


class Collector:
    """The present minute.

    Synchronization: one thread.
    """

    def __init__(
        self, start_s: float, monotonic_s: float, watts: Callable[[int], float]
    ) -> None:
        """Begin a minute.

        Args:
            start_s: seconds since the epoch.
            monotonic_s: the same moment, by the monotonic clock.
            watts: the power of a busy core at a frequency in kHz.
        """
        self._watts = watts
        self._start_s = start_s
        self._began_s = self._sampled_s = monotonic_s
        self._counts: Mapping[DomainId, DomainCounts] = {}
        self._intervals: list[EnergyInterval] = []
        self._events: list[EventRow] = []
        self._holds: dict[DomainId, dict[HoldCause, HoldTime]] = {}

    def add_energy(self, interval: EnergyInterval) -> None:
        """Add an interval of the energy accounting."""
        self._intervals.append(interval)

    def add_event(self, event: EventRow) -> None:
        """Add an event."""
        self._events.append(event)

    def add_holds(
        self, holds: Mapping[DomainId, Iterable[Hold]], monotonic_s: float
    ) -> None:
        """Add a sample of what holds the vCPUs of running domains."""
        elapsed_s = min(monotonic_s - self._sampled_s, LONGEST_SAMPLE_S)
        self._sampled_s = monotonic_s
        for uuid, found in holds.items():
            times = self._holds.setdefault(uuid, defaultdict(HoldTime))
            for hold in found:
                before = times[hold.cause]
                # What is held below its request costs no energy.
                extra_w = max(0.0, self._watts(hold.khz) - self._watts(hold.wanted_khz))
                times[hold.cause] = HoldTime(
                    before.core_s + elapsed_s, before.joules + extra_w * elapsed_s
                )

    def finish(
        self,
        counts: Mapping[DomainId, DomainCounts],
        start_s: float,
        monotonic_s: float,
    ) -> Minute:
        """Return the minute, and begin the next one.

        Args:
            counts: of the domains that run now.
            start_s: of the next minute, in seconds since the epoch.
            monotonic_s: the same moment.
        """
        energy = combine(self._intervals) if self._intervals else None
        known = set(counts) | set(self._holds) | set(energy.domains if energy else ())
        minute = Minute(
            start_s=self._start_s,
            duration_s=monotonic_s - self._began_s,
            host=energy.host if energy else None,
            events=tuple(self._events),
            domains=tuple(
                self._domain(uuid, counts.get(uuid), energy)
                for uuid in sorted(known)
                if uuid in counts or uuid in self._counts
            ),
        )
        self._start_s, self._began_s = start_s, monotonic_s
        self._counts = counts
        self._intervals, self._events, self._holds = [], [], {}
        return minute

    def _domain(
        self, uuid: DomainId, now: DomainCounts | None, energy: EnergyInterval | None
    ) -> DomainMinute:
        before = self._counts.get(uuid)
        part = energy.domains.get(uuid) if energy else None
        requests, refusals = Requests(), Counter[str]()
        for number, channel in (now.channels if now else {}).items():
            old = before.channels.get(number) if before else None
            requests = _added(requests, _grown(channel.requests, old))
            refusals.update(_grown_refusals(channel, old))
        named = now or before
        # A core that sleeps draws the same at each frequency.
        busy = _busy_share(part, named, energy.duration_s) if part and energy else 1.0
        return DomainMinute(
            uuid=uuid,
            name=named.name if named else uuid,
            requests=requests,
            refusals=+refusals,
            holds={
                cause: time._replace(joules=time.joules * busy)
                for cause, time in self._holds.get(uuid, {}).items()
            },
            energy=part,
        )


def _busy_share(
    part: DomainEnergy, domain: DomainCounts | None, seconds: float
) -> float:
    """Return the share of the time for which a domain's vCPUs ran."""
    vcpus = domain.vcpus if domain else 0
    ran_s = sum(part.residency.values())
    return min(1.0, ran_s / (vcpus * seconds)) if vcpus and seconds else 1.0


def _added(one: Requests, other: Requests) -> Requests:
    return Requests(*(a + b for a, b in zip(one, other, strict=True)))


def _grown(now: Requests, before: ChannelCounts | None) -> Requests:
    if before is None or now.total < before.requests.total:
        return now
    return Requests(*(max(0, a - b) for a, b in zip(now, before.requests, strict=True)))


def _grown_refusals(now: ChannelCounts, before: ChannelCounts | None) -> dict[str, int]:
    if before is None or now.requests.total < before.requests.total:
        return dict(now.refusals)
    return {
        cause: max(0, count - before.refusals.get(cause, 0))
        for cause, count in now.refusals.items()
    }
