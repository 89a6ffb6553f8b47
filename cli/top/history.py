# SPDX-License-Identifier: Apache-2.0
"""Recent frequencies and request rates, one value per sample.

The daemon has counters but no history, so the dashboard keeps one.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Generic, TypeVar

from cli.output.tables.run_state import is_active

if TYPE_CHECKING:
    from collections.abc import Iterable

    from orchestrator.control.documents import Domain, Status

MAX_SAMPLES = 240
"""More than the widest sparkline can show."""
KeyT = TypeVar("KeyT")


class TimeSeries(Generic[KeyT]):
    """Recent values by key; keys without a current value are dropped."""

    def __init__(self) -> None:
        self._values: dict[KeyT, deque[float | None]] = {}

    def add(self, values: Iterable[tuple[KeyT, float | None]]) -> None:
        """Append a value for each key, and drop all other keys."""
        before, self._values = self._values, {}
        for key, value in values:
            series = before.get(key)
            if series is None:
                series = deque(maxlen=MAX_SAMPLES)
            series.append(value)
            self._values[key] = series

    def last(self, key: KeyT, count: int) -> list[float | None]:
        """Return up to `count` of the latest values, the newest last."""
        return list(self._values.get(key, ()))[-count:] if count > 0 else []

    def latest(self, key: KeyT) -> float | None:
        """Return the newest value."""
        series = self._values.get(key)
        return series[-1] if series else None


class History:
    """Time series of frequencies and request rates.

    Synchronization: one thread.
    """

    def __init__(self) -> None:
        self.group_khz: TimeSeries[int] = TimeSeries()
        """kHz of each clock group."""
        self.domain_khz: TimeSeries[str] = TimeSeries()
        """Mean kHz of the controllable vCPUs of each domain, by UUID."""
        self.domain_ranges: dict[str, tuple[int, int]] = {}
        """The lowest and the highest kHz of them now; without those not known."""
        self.domain_rates: TimeSeries[str] = TimeSeries()
        """Requests per second of each domain, by UUID."""
        self._rates: dict[tuple[str, int], float | None] = {}
        self._totals: dict[tuple[str, int], int] = {}
        self._sampled_s: float | None = None

    def rate(self, uuid: str, number: int) -> float | None:
        """Return the requests per second of a channel; None: unknown."""
        return self._rates.get((uuid, number))

    def add(self, status: Status, at_s: float) -> None:
        """Add a sample.

        Args:
            status: of the daemon.
            at_s: when it was received, by the monotonic clock.
        """
        current_khz = {cpu["clock_group"]: cpu["current_khz"] for cpu in status["cpus"]}
        self.group_khz.add(current_khz.items())
        self._count(status, at_s)
        domains = status["domains"]
        khz = {d["uuid"]: _vcpu_khz(d, current_khz) for d in domains}
        self.domain_khz.add(
            (uuid, sum(found) / len(found) if found else None)
            for uuid, found in khz.items()
        )
        self.domain_ranges = {
            uuid: (min(found), max(found)) for uuid, found in khz.items() if found
        }
        self.domain_rates.add((d["uuid"], self._domain_rate(d)) for d in domains)

    def _count(self, status: Status, at_s: float) -> None:
        passed_s = None if self._sampled_s is None else at_s - self._sampled_s
        before, self._totals, self._rates = self._totals, {}, {}
        for domain in status["domains"]:
            for channel in domain["channels"]:
                key = (domain["uuid"], channel["number"])
                total = channel["requests_total"]
                self._totals[key] = total
                self._rates[key] = _per_second(before.get(key), total, passed_s)
        self._sampled_s = at_s

    def _domain_rate(self, domain: Domain) -> float | None:
        rates = [self.rate(domain["uuid"], c["number"]) for c in domain["channels"]]
        known = [rate for rate in rates if rate is not None]
        return sum(known) if known else None


def _per_second(before: int | None, now: int, passed_s: float | None) -> float | None:
    # Fewer than before: the daemon restarted and counts from zero.
    if before is None or not passed_s or now < before:
        return None
    return (now - before) / passed_s


def _vcpu_khz(domain: Domain, current_khz: dict[int, int | None]) -> list[int]:
    """Return the frequencies that its controllable vCPUs have, if it runs."""
    if not is_active(domain):
        return []
    return [
        khz
        for vcpu in domain["vcpus"]
        if vcpu["controllable"] and vcpu["clock_group"] is not None
        if (khz := current_khz.get(vcpu["clock_group"])) is not None
    ]
