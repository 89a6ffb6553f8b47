# SPDX-License-Identifier: Apache-2.0
"""Recent frequencies and request rates, one value per sample.

The dashboard keeps its samples. Before the first one, it takes the last minutes of the
daemon's history, whose values are means of a minute: each is repeated for the samples
that a minute would have had.
"""

from __future__ import annotations

from collections import deque
from datetime import datetime
from typing import TYPE_CHECKING, Generic, TypeVar

from cli.output.tables.run_state import is_active

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from orchestrator.control.documents import Domain, HistoryDomain, Status
    from orchestrator.control.documents import History as Recorded

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

    def begin(self, values: Mapping[KeyT, Iterable[float | None]]) -> None:
        """Begin with values from before the first sample, the newest last."""
        self._values = {
            key: deque(series, maxlen=MAX_SAMPLES) for key, series in values.items()
        }

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

    def begin(self, past: Recorded, now: datetime, delay_s: float) -> None:
        """Begin with what the daemon recorded; to be called before `add`.

        Args:
            past: in parts of a minute.
            now: the wall time, aware.
            delay_s: between two samples from now on.
        """
        since = datetime.fromisoformat(past["since"])
        passed_s = (now - since).total_seconds()
        count = min(MAX_SAMPLES, int(passed_s / delay_s))
        parts = {(it["part"], it["uuid"]): it for it in past["domains"]}
        # The middle of each sample that there would have been.
        ages_s = [(count - at - 0.5) * delay_s for at in range(count)]
        numbers = [int((passed_s - age_s) / past["step_s"]) for age_s in ages_s]

        def series(
            uuid: str, value: Callable[[HistoryDomain], float | None]
        ) -> list[float | None]:
            found = [parts.get((number, uuid)) for number in numbers]
            return [None if it is None else value(it) for it in found]

        uuids = {it["uuid"] for it in past["domains"]}
        self.domain_khz.begin({uuid: series(uuid, _mean_khz) for uuid in uuids})
        self.domain_rates.begin({uuid: series(uuid, _mean_rate) for uuid in uuids})

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


def _mean_khz(part: HistoryDomain) -> float | None:
    known = [(it["khz"], it["core_s"]) for it in part["steps"] if it["khz"]]
    core_s = sum(weight for _, weight in known)
    return sum(khz * weight for khz, weight in known) / core_s if core_s else None


def _mean_rate(part: HistoryDomain) -> float | None:
    seconds = part["duration_s"]
    return part["requests_total"] / seconds if seconds else None


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
