# SPDX-License-Identifier: Apache-2.0
"""The measurements, as values; times have their unit in their name."""

from __future__ import annotations

import statistics
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable


@dataclass(frozen=True, slots=True, kw_only=True)
class Spread:
    """The median of several measurements, and the quartiles."""

    median: float
    low: float
    """First quartile."""
    high: float
    """Third quartile."""


def spread(values: Iterable[float]) -> Spread:
    """Summarize measurements of the same thing.

    Raises:
        ValueError: there are none.
    """
    known = sorted(values)
    if not known:
        raise ValueError("nothing was measured")
    low, median, high = (
        statistics.quantiles(known, n=4, method="inclusive")
        if len(known) > 1
        else known * 3
    )
    return Spread(median=median, low=low, high=high)


@dataclass(frozen=True, slots=True, kw_only=True)
class RoundTrips:
    """One run with one request outstanding per channel."""

    p50_us: float
    p99_us: float
    p999_us: float
    requests_per_s: float
    cpu_us_per_request: float
    """Of the serving process."""
    writes_per_request: float | None
    """Frequencies written; None: not readable without root."""
    lost: int
    """Requests without an answer."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Stream:
    """One run with many requests outstanding per channel."""

    requests_per_s: float
    writes_per_s: float | None
    cpu_us_per_request: float
    lost: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Exchange:
    """All runs of one server at one number of channels, in the order of rounds."""

    server: str
    round_trips: tuple[RoundTrips, ...]
    streams: tuple[Stream, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """The servers side by side at one number of channels."""

    channels: int
    entry: str
    """How vmpowerd learned of the channels."""
    exchanges: tuple[Exchange, ...]
    mechanism: str = "setspeed"
    """How vmpowerd sets frequencies; the other servers use `scaling_setspeed`."""

    @property
    def variant(self) -> str:
        """The mechanism as an addition to the number of channels; empty: setspeed."""
        return "" if self.mechanism == "setspeed" else f", {self.mechanism}"

    def of(self, server: str) -> Exchange:
        """Return one server's runs.

        Raises:
            KeyError: it was not measured.
        """
        for exchange in self.exchanges:
            if exchange.server == server:
                return exchange
        raise KeyError(server)


@dataclass(frozen=True, slots=True, kw_only=True)
class Idle:
    """A daemon with open channels without requests."""

    channels: int
    seconds: float
    main_cpu_pct: float
    """Of one core."""
    monitor_cpu_pct: float
    main_pss_bytes: int | None
    monitor_pss_bytes: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Obeyed:
    """Requests of one kind of channel, until their frequency is in sysfs."""

    kind: str
    channels: int
    """Which request at the same time."""
    p50_us: float
    p99_us: float
    cpu_us_per_request: float
    """Of the monitor process."""
    idle_cpu_pct: float
    """Of the monitor process, of one core, while no guest requests anything."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GuestWrites:
    """How long a guest with P-states took for requests, one run in each round."""

    stopped: str
    """What was stopped meanwhile."""
    writes: int
    wall_s: tuple[float, ...]
    """In the guest."""
    cpu_s: tuple[float, ...]
    """Of QEMU."""

    @property
    def fastest_s(self) -> float:
        """The run in which other processes disturbed the guest least."""
        return min(self.wall_s)


@dataclass(frozen=True, slots=True, kw_only=True)
class Verification:
    """One verification of taken clock groups, in CPU time of one thread."""

    groups: int
    interval_s: float
    """Time between two verifications, by default."""
    drift_us: float
    """For governors and frequencies."""
    limits_us: float
    """For the kernel's limits."""
    reads_us: float
    """For reading the files of `drift_us`, and nothing else."""

    @property
    def cpu_pct(self) -> float:
        """The share of one core."""
        return 100 * (self.drift_us + self.limits_us) / 1e6 / self.interval_s


@dataclass(frozen=True, slots=True, kw_only=True)
class Discovery:
    """One start of the daemon beside running domains."""

    domains: int
    connected_ms: float
    """From exec until the last channel was connected."""
    obeyed_ms: float
    """From exec until the last channel's first request was answered ACK."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Scale:
    """The daemon's main process beside a number of domains; CPU time of all threads."""

    domains: int
    channels: int
    connected_ms: float
    """From the start of the daemon, without its imports, until all are connected."""
    connect_cpu_s: float
    """From exec until all channels are connected."""
    restart_cpu_ms: float
    """For the stop and the start of one domain."""
    storm_cpu_s: float
    """For the stop and the start of all domains at once."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Arrival:
    """One domain that started beside the running daemon."""

    connected_ms: float
    """From before the call that starts it until its channel was connected."""
    obeyed_ms: float
    """Until its first request was answered ACK."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Watching:
    """A dashboard left open for a while; CPU time in seconds per minute."""

    vcpus: int
    seconds: float
    top_cpu_s: float
    daemon_cpu_s: float
    """Of the daemon's main process, which serves the API."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Scrape:
    """Scrapes of the metrics, one after the other."""

    vcpus: int
    series: int
    """Lines of values in an answer."""
    size_bytes: int
    took_ms: tuple[float, ...]
    """Of each scrape, from the connection to the last byte."""
    cpu_ms: tuple[float, ...]
    """CPU time of the daemon's main process for each."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NeighbourRun:
    """One run of good channels beside a bad one."""

    p50_us: float
    p99_us: float
    """Of the good channels."""
    flood_mb_per_s: float
    """What the bad one sent meanwhile."""
    lost: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Neighbour:
    """All runs beside one kind of bad channel, in the order of rounds."""

    kind: str
    runs: tuple[NeighbourRun, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class SavingRow:
    """A day of traffic with one way to set frequencies; simulated, power modeled."""

    name: str
    mean_w: float
    """Of the package."""
    p50_us: float
    p999_us: float
    """Of the delays of packets: in the queue, and while they are handled."""
    lost: float
    """Share of the packets."""
    changes_per_s: float
    """Of each vCPU's frequency."""
    hourly_w: tuple[float, ...]
    """The package's mean power in each hour."""

    def saved_pct(self, base: SavingRow) -> float:
        """Return how much less energy this takes than another, in percent."""
        return 100 * (1 - self.mean_w / base.mean_w)


@dataclass(frozen=True, slots=True, kw_only=True)
class Results:
    """All measurements of one run of the benchmark."""

    circumstances: dict[str, str]
    """Machine, kernel, versions, date: what the figures depend on."""
    comparisons: tuple[Comparison, ...] = ()
    idle: Idle | None = None
    obeyed: tuple[Obeyed, ...] = ()
    guest_writes: tuple[GuestWrites, ...] = ()
    """The first one with nothing stopped."""
    verification: Verification | None = None
    discoveries: tuple[Discovery, ...] = ()
    scales: tuple[Scale, ...] = ()
    """By number of domains."""
    arrivals: tuple[Arrival, ...] = ()
    neighbours: tuple[Neighbour, ...] = ()
    """The first one is quiet; the others are compared with it."""
    starts_ms: tuple[float, ...] = ()
    """Of `vmpower status`, from exec to exit."""
    watching: Watching | None = None
    saving: tuple[SavingRow, ...] = ()
    """The first one is always at the highest step; the others are compared with it."""
    saving_own_bursts: tuple[SavingRow, ...] = ()
    """The same with bursts whose rate does not follow the time of day."""
    scrape: Scrape | None = None
