"""What was seen lately: clocks and rates, one value a look.

The daemon counts and does not remember; who watches it remembers.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import Iterable

    from orchestrator.control.documents import Domain, Status

LOOKS = 240
"""Values that are kept: more than the widest sparkline draws."""
KeyT = TypeVar("KeyT")


class Traces(Generic[KeyT]):
    """Recent values by key; a key that is not seen any more is forgotten."""

    def __init__(self) -> None:
        self._values: dict[KeyT, deque[float | None]] = {}

    def add(self, values: Iterable[tuple[KeyT, float | None]]) -> None:
        """Append one value for each key, and forget all other keys."""
        before, self._values = self._values, {}
        for key, value in values:
            trace = before.get(key)
            if trace is None:
                trace = deque(maxlen=LOOKS)
            trace.append(value)
            self._values[key] = trace

    def last(self, key: KeyT, count: int) -> list[float | None]:
        """Return up to `count` latest values, the newest last."""
        return list(self._values.get(key, ()))[-count:] if count > 0 else []

    def latest(self, key: KeyT) -> float | None:
        """Return the newest value."""
        trace = self._values.get(key)
        return trace[-1] if trace else None


class History:
    """Looks at the daemon, one after the other.

    Synchronization: one thread.
    """

    def __init__(self) -> None:
        self.clocks: Traces[int] = Traces()
        """kHz of each clock group."""
        self.domain_clocks: Traces[str] = Traces()
        """Mean kHz of the controllable vCPUs of each domain, by UUID."""
        self.domain_rates: Traces[str] = Traces()
        """Requests per second of each domain, by UUID."""
        self._rates: dict[tuple[str, int], float | None] = {}
        self._totals: dict[tuple[str, int], int] = {}
        self._looked_s: float | None = None

    def rate(self, uuid: str, number: int) -> float | None:
        """Return the requests per second of a channel; None: not known yet."""
        return self._rates.get((uuid, number))

    def add(self, status: Status, at_s: float) -> None:
        """Remember a look.

        Args:
            status: what the daemon said.
            at_s: when, by a monotonic clock.
        """
        clocks = {cpu["clock_group"]: cpu["current_khz"] for cpu in status["cpus"]}
        self.clocks.add(clocks.items())
        self._count(status, at_s)
        domains = status["domains"]
        self.domain_clocks.add((d["uuid"], _mean_khz(d, clocks)) for d in domains)
        self.domain_rates.add((d["uuid"], self._domain_rate(d)) for d in domains)

    def _count(self, status: Status, at_s: float) -> None:
        passed_s = None if self._looked_s is None else at_s - self._looked_s
        before, self._totals, self._rates = self._totals, {}, {}
        for domain in status["domains"]:
            for channel in domain["channels"]:
                key = (domain["uuid"], channel["number"])
                total = channel["requests_total"]
                self._totals[key] = total
                self._rates[key] = _per_second(before.get(key), total, passed_s)
        self._looked_s = at_s

    def _domain_rate(self, domain: Domain) -> float | None:
        rates = [self.rate(domain["uuid"], c["number"]) for c in domain["channels"]]
        known = [rate for rate in rates if rate is not None]
        return sum(known) if known else None


def _per_second(before: int | None, now: int, passed_s: float | None) -> float | None:
    # Fewer than before: another daemon counts from zero.
    if before is None or not passed_s or now < before:
        return None
    return (now - before) / passed_s


def _mean_khz(domain: Domain, clocks: dict[int, int | None]) -> float | None:
    if domain["id"] is None:
        return None
    found = [
        khz
        for vcpu in domain["vcpus"]
        if vcpu["controllable"] and vcpu["clock_group"] is not None
        if (khz := clocks.get(vcpu["clock_group"])) is not None
    ]
    return sum(found) / len(found) if found else None
