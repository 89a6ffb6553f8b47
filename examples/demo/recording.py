"""What was seen: clocks over time, and what each vCPU and the daemon told."""

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

    from examples.demo.consoles import VCpuReport
    from orchestrator.control.documents import Channel, EventRecord, Status
    from orchestrator.power.group import ClockGroup
    from orchestrator.values.domain import PCpu

_RATE_OVER_S = 2.0
"""Rates are means over this long: long enough to be read."""
_MS = 1_000
_PASSING = (ChannelState.CONNECTING, DomainState.PAUSED)
"""libvirt starts each domain as a paused one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Scene:
    """What does not change during the show."""

    seconds: int
    """How long the guests work."""
    groups: tuple[ClockGroup, ...]
    pins: tuple[PCpu, ...]
    """The CPU of each vCPU, the same in all guests."""
    guests: tuple[str, ...]
    run_dir: str
    """The daemon's, for a second terminal."""

    @property
    def is_simulated(self) -> bool:
        """Whether the clocks are files in a directory."""
        return any(group.is_simulated for group in self.groups)


@dataclass(slots=True)
class Lane:
    """One vCPU of one guest, as the guest and the daemon tell of it.

    Synchronization: one thread.
    """

    guest: str
    vcpu: int
    pcpu: int
    latest: VCpuReport | None = None
    rtt_us: list[int] = field(default_factory=list)
    """Every round trip that the guest measured."""
    channel: Channel | None = None
    """The daemon's counters of its channel."""
    wish_khz: int | None = None
    _reports: deque[VCpuReport] = field(default_factory=deque)
    _requests: deque[tuple[float, int]] = field(default_factory=deque)

    @property
    def name(self) -> str:
        """Return what people call it: ``router/0``."""
        return f"{self.guest}/{self.vcpu}"

    def add_report(self, report: VCpuReport) -> None:
        """Take in a line of the guest."""
        self.latest = report
        self.rtt_us += report.rtt_us
        self._reports.append(report)
        while report.ms - self._reports[0].ms > _RATE_OVER_S * _MS:
            self._reports.popleft()

    def add_channel(self, at_s: float, channel: Channel) -> None:
        """Take in the daemon's counters."""
        self.channel = channel
        self._requests.append((at_s, channel["requests_total"]))
        while at_s - self._requests[0][0] > _RATE_OVER_S:
            self._requests.popleft()

    def packets_per_s(self) -> float | None:
        """Return how many packets it serves now; None before it can be known."""
        first, last = (
            (self._reports[0], self._reports[-1]) if self._reports else 2 * (None,)
        )
        if first is None or last is None or last.ms == first.ms:
            return None
        return (last.served - first.served) / (last.ms - first.ms) * _MS

    def requests_per_s(self) -> float | None:
        """Return how often it asks now, by the daemon's count."""
        if len(self._requests) < 2 or not self._requests[-1][1]:
            return None
        (from_s, before), (to_s, after) = self._requests[0], self._requests[-1]
        return (after - before) / (to_s - from_s)


class Recording:
    """Everything that was seen so far.

    Synchronization: one thread.
    """

    def __init__(self, scene: Scene) -> None:
        self.scene = scene
        self.at_s = 0.0
        """Seconds since the guests began to ask; before that 0."""
        self.lanes = {
            (guest, vcpu): Lane(guest, vcpu, pcpu)
            for guest in scene.guests
            for vcpu, pcpu in enumerate(scene.pins)
        }
        self.clocks: dict[int, list[tuple[float, float]]] = {
            group.number: [] for group in scene.groups
        }
        """Seconds and kHz, by clock group."""
        self.status: Status | None = None
        self.events: list[EventRecord] = []
        """What the daemon told, clocks aside."""
        self._began_s: float | None = None

    def add_reports(self, guest: str, reports: Iterable[VCpuReport]) -> None:
        """Take in what a guest printed."""
        for report in reports:
            if (guest, report.vcpu) in self.lanes:
                self.lanes[guest, report.vcpu].add_report(report)

    def add_status(self, now_s: float, status: Status) -> None:
        """Take in the daemon's status at a moment of the host's clock."""
        self.status = status
        if self._began_s is None and any(c["claimed"] for c in status["cpus"]):
            self._began_s = now_s
        if self._began_s is not None:
            self.at_s = now_s - self._began_s
            self._add_clocks(status)
        for domain in status["domains"]:
            for vcpu in domain["vcpus"]:
                lane = self.lanes.get((domain["name"], vcpu["vcpu"]))
                if lane:
                    lane.wish_khz = vcpu["wish_khz"]
            for channel in domain["channels"]:
                lane = self.lanes.get((domain["name"], channel["number"]))
                if lane:
                    lane.add_channel(now_s, channel)

    def _add_clocks(self, status: Status) -> None:
        seen = {cpu["clock_group"]: cpu["current_khz"] for cpu in status["cpus"]}
        for number, points in self.clocks.items():
            khz = seen.get(number)
            if khz is not None and self.at_s <= self.scene.seconds:
                points.append((self.at_s, float(khz)))

    def add_events(self, events: Sequence[EventRecord]) -> None:
        """Take in all that the daemon remembers."""
        self.events = [event for event in events if event["kind"] != "grant"]

    def story(self) -> list[EventRecord]:
        """Return the events that are worth a line: states that only pass are not."""
        return [e for e in self.events if e["facts"].get("state") not in _PASSING]

    def opened_after_ms(self) -> int | None:
        """Return when the last channel was open, from when its domain was seen running.

        Negative: before; None: none was open.
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

    def clock_now(self, number: int) -> int | None:
        """Return the kHz of a clock group as last seen."""
        if self.status is None:
            return None
        for cpu in self.status["cpus"]:
            if cpu["clock_group"] == number:
                return cpu["current_khz"]
        return None

    def governor_now(self, number: int) -> str:
        """Return the governor of a clock group as last seen."""
        cpus = self.status["cpus"] if self.status else []
        return next((c["governor"] for c in cpus if c["clock_group"] == number), "")

    def lanes_of(self, group: ClockGroup) -> list[Lane]:
        """Return the vCPUs that share a clock."""
        return [lane for lane in self.lanes.values() if lane.pcpu in group.pcpus]

    def rtt_us(self) -> list[int]:
        """Return all round trips of all guests."""
        return [trip for lane in self.lanes.values() for trip in lane.rtt_us]


def format_us(microseconds: int | None) -> str:
    """Write a latency for people: ``812 us``, ``1.24 ms``."""
    if microseconds is None:
        return "-"
    if microseconds < _MS:
        return f"{microseconds} us"
    return f"{microseconds / _MS:.2f} ms"


def p50_p99(rtt_us: Sequence[int]) -> tuple[str, str]:
    """Return the median and the 99th percentile, for people."""
    return format_us(percentile(rtt_us, 50)), format_us(percentile(rtt_us, 99))
