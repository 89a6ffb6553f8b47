# SPDX-License-Identifier: Apache-2.0
"""Collects frequencies over time, and the reports of guests and daemon."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING

from examples.demo.charts import percentile
from orchestrator.channel.lifecycle import ChannelState
from orchestrator.values.domain import DomainState

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from examples.demo.consoles import LoadReport, VCpuReport
    from orchestrator.control.documents import Channel, EventRecord, Status
    from orchestrator.power.group import ClockGroup
    from orchestrator.values.domain import PCpu

_RATE_OVER_S = 2.0
"""Rates are averaged over this time, to be readable."""
_MS = 1_000
_TRANSIENT = (ChannelState.CONNECTING, DomainState.PAUSED)
"""libvirt starts domains in the paused state."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Setup:
    """What does not change during the demo."""

    seconds: int
    """How long the guests run."""
    groups: tuple[ClockGroup, ...]
    pins: tuple[PCpu, ...]
    """The CPU of each vCPU, the same in all guests."""
    guests: tuple[str, ...]
    run_dir: str
    """Of the daemon, for a second terminal."""
    has_p_states: bool = False
    """Whether the guests have P-states instead of channels."""

    @property
    def is_simulated(self) -> bool:
        """Whether the CPUs are simulated."""
        return any(group.is_simulated for group in self.groups)


@dataclass(slots=True)
class VCpuTrack:
    """One vCPU of a guest: the reports of the guest and of the daemon.

    Synchronization: one thread.
    """

    guest: str
    vcpu: int
    pcpu: int
    latest: VCpuReport | None = None
    load: LoadReport | None = None
    """The latest report of a guest with P-states."""
    rtt_us: list[int] = field(default_factory=list)
    """All round trips that the guest measured."""
    channel: Channel | None = None
    """The daemon's counters for its channel; with P-states, that of the guest."""
    requested_khz: int | None = None
    _reports: deque[VCpuReport] = field(default_factory=deque)
    _requests: deque[tuple[float, int]] = field(default_factory=deque)

    @property
    def name(self) -> str:
        """Return its name: ``router/0``."""
        return f"{self.guest}/{self.vcpu}"

    def add_report(self, report: VCpuReport) -> None:
        """Add a report of the guest."""
        self.latest = report
        self.rtt_us += report.rtt_us
        self._reports.append(report)
        while report.ms - self._reports[0].ms > _RATE_OVER_S * _MS:
            self._reports.popleft()

    def add_channel(self, at_s: float, channel: Channel) -> None:
        """Add a sample of the daemon's counters."""
        self.channel = channel
        self._requests.append((at_s, channel["requests_total"]))
        while at_s - self._requests[0][0] > _RATE_OVER_S:
            self._requests.popleft()

    def packets_per_s(self) -> float | None:
        """Return the current packet rate; None: not known yet."""
        first, last = (
            (self._reports[0], self._reports[-1]) if self._reports else 2 * (None,)
        )
        if first is None or last is None or last.ms == first.ms:
            return None
        return (last.served - first.served) / (last.ms - first.ms) * _MS

    def requests_per_s(self) -> float | None:
        """Return the current request rate, by the daemon's counters."""
        if len(self._requests) < 2 or not self._requests[-1][1]:
            return None
        (from_s, before), (to_s, after) = self._requests[0], self._requests[-1]
        return (after - before) / (to_s - from_s)


class Recording:
    """All samples so far.

    Synchronization: one thread.
    """

    def __init__(self, setup: Setup) -> None:
        self.setup = setup
        self.at_s = 0.0
        """Seconds since the first request; 0 before it."""
        self.tracks = {
            (guest, vcpu): VCpuTrack(guest, vcpu, pcpu)
            for guest in setup.guests
            for vcpu, pcpu in enumerate(setup.pins)
        }
        self.frequencies: dict[int, list[tuple[float, float]]] = {
            group.number: [] for group in setup.groups
        }
        """Seconds and kHz, by clock group."""
        self.status: Status | None = None
        self.events: list[EventRecord] = []
        """The daemon's events, without frequency changes."""
        self._began_s: float | None = None

    def add_reports(self, guest: str, reports: Iterable[VCpuReport]) -> None:
        """Add the reports of a guest."""
        for report in reports:
            if (guest, report.vcpu) in self.tracks:
                self.tracks[guest, report.vcpu].add_report(report)

    def add_loads(self, guest: str, reports: Iterable[LoadReport]) -> None:
        """Add the reports of a guest with P-states."""
        for report in reports:
            if (guest, report.vcpu) in self.tracks:
                self.tracks[guest, report.vcpu].load = report

    def add_status(self, now_s: float, status: Status) -> None:
        """Add the daemon's status, received at this monotonic time."""
        self.status = status
        if self._began_s is None and any(c["claimed"] for c in status["cpus"]):
            self._began_s = now_s
        if self._began_s is not None:
            self.at_s = now_s - self._began_s
            self._add_frequencies(status)
        for domain in status["domains"]:
            for vcpu in domain["vcpus"]:
                track = self.tracks.get((domain["name"], vcpu["vcpu"]))
                if track:
                    track.requested_khz = vcpu["requested_khz"]
            for channel in domain["channels"]:
                for track in self._tracks_behind(domain["name"], channel):
                    track.add_channel(now_s, channel)

    def _tracks_behind(self, guest: str, channel: Channel) -> list[VCpuTrack]:
        tracks = [track for track in self.tracks.values() if track.guest == guest]
        if self.setup.has_p_states:
            return tracks
        return [track for track in tracks if track.vcpu == channel["number"]]

    def _add_frequencies(self, status: Status) -> None:
        seen = {cpu["clock_group"]: cpu["current_khz"] for cpu in status["cpus"]}
        for number, points in self.frequencies.items():
            khz = seen.get(number)
            if khz is not None and self.at_s <= self.setup.seconds:
                points.append((self.at_s, float(khz)))

    def add_events(self, events: Sequence[EventRecord]) -> None:
        """Replace the events by all that the daemon has."""
        self.events = [event for event in events if event["kind"] != "grant"]

    def notable_events(self) -> list[EventRecord]:
        """Return the events to show; transient states are omitted."""
        return [e for e in self.events if e["facts"].get("state") not in _TRANSIENT]

    def opened_after_ms(self) -> int | None:
        """Return how long after its domain was running the last channel was open.

        Negative: before that; None: no channel was open.
        """
        running: dict[str | None, datetime] = {}
        opened: list[tuple[str | None, datetime]] = []
        for event in self.events:
            at = datetime.fromisoformat(event["time"])
            match event["facts"].get("state"):
                case DomainState.RUNNING:
                    running.setdefault(event["domain"], at)
                case ChannelState.OPEN:
                    opened.append((event["domain"], at))
                case _:
                    pass
        took_s = [(at - running[d]).total_seconds() for d, at in opened if d in running]
        return round(max(took_s) * _MS) if took_s else None

    def current_khz(self, number: int) -> int | None:
        """Return the latest frequency of a clock group."""
        if self.status is None:
            return None
        for cpu in self.status["cpus"]:
            if cpu["clock_group"] == number:
                return cpu["current_khz"]
        return None

    def current_governor(self, number: int) -> str:
        """Return the latest governor of a clock group."""
        cpus = self.status["cpus"] if self.status else []
        return next((c["governor"] for c in cpus if c["clock_group"] == number), "")

    def tracks_of(self, group: ClockGroup) -> list[VCpuTrack]:
        """Return the vCPUs on the CPUs of a clock group."""
        return [track for track in self.tracks.values() if track.pcpu in group.pcpus]

    def rtt_us(self) -> list[int]:
        """Return all round trips of all guests."""
        return [trip for track in self.tracks.values() for trip in track.rtt_us]


def format_us(microseconds: int | None) -> str:
    """Format a latency: ``812 us``, ``1.24 ms``."""
    if microseconds is None:
        return "-"
    if microseconds < _MS:
        return f"{microseconds} us"
    return f"{microseconds / _MS:.2f} ms"


def p50_p99(rtt_us: Sequence[int]) -> tuple[str, str]:
    """Return the median and the 99th percentile, formatted."""
    return format_us(percentile(rtt_us, 50)), format_us(percentile(rtt_us, 99))
