"""The same without a terminal: a few plain lines now and then."""

from __future__ import annotations

from typing import TYPE_CHECKING

from examples.demo.picture import group_name, open_channels
from examples.demo.recording import p50_p99
from orchestrator.values.units import format_khz

if TYPE_CHECKING:
    from examples.demo.recording import Lane, Recording


def plain_snapshot(recording: Recording) -> str:
    """Say in plain text what is going on at this moment."""
    scene = recording.scene
    mark = " (simulated)" if scene.is_simulated else ""
    clocks = ", ".join(
        f"{group_name(group)} at {format_khz(recording.clock_now(group.number))}"
        for group in scene.groups
    )
    if not any(lane.latest for lane in recording.lanes.values()):
        return f" {open_channels(recording)}, the guests boot{mark}"
    at_s = min(recording.at_s, scene.seconds)
    lines = [f"{at_s:4.0f} of {scene.seconds} s: {clocks}{mark}"]
    return "\n".join([*lines, *(_lane(lane) for lane in recording.lanes.values())])


def _lane(lane: Lane) -> str:
    report = lane.latest
    if report is None:
        state = lane.channel["state"] if lane.channel else "not there yet"
        return f"      {lane.name:<11} boots, channel {state}"
    rate = lane.packets_per_s() or 0
    asks = lane.requests_per_s() or 0
    p50, p99 = p50_p99(lane.rtt_us)
    return (
        f"      {lane.name:<11} queue {report.queue:>5}  {rate:>8,.0f} packets/s"
        f"  wants {format_khz(lane.wish_khz):>8}  asks {asks:>3.0f}/s"
        f"  ACK {report.acks:>4}  NACK {report.nacks}  late {report.none}"
        f"  p50 {p50}  p99 {p99}"
    )
