# SPDX-License-Identifier: Apache-2.0
"""The state of the demo as plain text, for output without a terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING

from examples.demo.loads import channel_lines, load_line
from examples.demo.picture import group_name, open_channels
from examples.demo.recording import p50_p99
from orchestrator.values.units import format_khz

if TYPE_CHECKING:
    from examples.demo.recording import Recording, VCpuTrack


def plain_text(recording: Recording) -> str:
    """Describe the current state in plain text."""
    setup = recording.setup
    suffix = " (simulated)" if setup.is_simulated else ""
    frequencies = ", ".join(
        f"{group_name(group)} at {format_khz(recording.current_khz(group.number))}"
        for group in setup.groups
    )
    tracks = recording.tracks.values()
    if not any(track.latest or track.load for track in tracks):
        return f" {open_channels(recording)}, guests are booting{suffix}"
    at_s = min(recording.at_s, setup.seconds)
    lines = [f"{at_s:4.0f} of {setup.seconds} s: {frequencies}{suffix}"]
    if setup.has_p_states:
        lines += [load_line(track) for track in tracks]
        lines += [f"      {line}" for line in channel_lines(recording)]
    else:
        lines += [_track_line(track) for track in tracks]
    return "\n".join(lines)


def _track_line(track: VCpuTrack) -> str:
    report = track.latest
    if report is None:
        state = track.channel["state"] if track.channel else "not found yet"
        return f"      {track.name:<11} booting, channel {state}"
    rate = track.packets_per_s() or 0
    requests = track.requests_per_s() or 0
    p50, p99 = p50_p99(track.rtt_us)
    return (
        f"      {track.name:<11} queue {report.queue:>5}  {rate:>8,.0f} packets/s"
        f"  requests {format_khz(track.requested_khz):>8} ({requests:>3.0f}/s)"
        f"  ACK {report.acks:>4}  NACK {report.nacks}  late {report.none}"
        f"  p50 {p50}  p99 {p99}"
    )
