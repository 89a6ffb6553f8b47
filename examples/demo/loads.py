# SPDX-License-Identifier: Apache-2.0
"""Renders guests whose own cpufreq driver requests frequencies; pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.table import Table
from rich.text import Text

from examples.demo.charts import bar
from orchestrator.values.units import format_khz

if TYPE_CHECKING:
    from rich.console import JustifyMethod, RenderableType

    from examples.demo.recording import Recording, VCpuTrack

_BAR_CELLS = 10
_TITLES = ("vCPU", "on", "load", "guest's governor", "its frequency", "changes")
_LEFT_TITLES = 4


def load_table(recording: Recording) -> RenderableType:
    """Render what the guests report, then the daemon's counters for each guest."""
    table = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False, header_style="dim")
    for number, title in enumerate(_TITLES):
        side: JustifyMethod = "left" if number < _LEFT_TITLES else "right"
        table.add_column(title, justify=side, no_wrap=True)
    for track in recording.tracks.values():
        table.add_row(Text(track.name, "bold"), *_cells(track))
    rows = Table.grid()
    rows.add_row(table)
    for line in channel_lines(recording):
        rows.add_row(Text(line, "dim"))
    return rows


def channel_lines(recording: Recording) -> list[str]:
    """Describe the channel of each guest: its state, and requests by the daemon."""
    firsts = {track.guest: track for track in reversed(recording.tracks.values())}
    return [_channel_line(track) for track in reversed(firsts.values())]


def load_line(track: VCpuTrack) -> str:
    """Describe a vCPU in plain text."""
    report = track.load
    if report is None:
        return f"      {track.name:<13} booting"
    return (
        f"      {track.name:<13} load {report.load:>3} %  {report.governor} requests"
        f" {format_khz(report.khz):>8} ({report.changes} changes)"
    )


def _cells(track: VCpuTrack) -> list[Text]:
    where = Text(f"CPU {track.pcpu}", "dim")
    report = track.load
    if report is None:
        return [where, Text("booting", "dim")]
    filled, empty = bar(report.load / 100, _BAR_CELLS)
    load = Text().append(filled, "green").append(empty, "bright_black")
    return [
        where,
        load.append(f" {report.load:>3} %"),
        Text(report.governor),
        Text(format_khz(report.khz)),
        Text(f"{report.changes:,}"),
    ]


def _channel_line(track: VCpuTrack) -> str:
    channel = track.channel
    if channel is None:
        return f"{track.guest}: no channel yet"
    rate = track.requests_per_s()
    shown = "" if rate is None else f", {rate:.0f} a second now"
    refused = sum(channel["nack_reasons"].values())
    return (
        f"{track.guest}: port {channel['target']} {channel['state']},"
        f" {channel['requests_total']:,} requests{shown}, {refused:,} refused"
    )
