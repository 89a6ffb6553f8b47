# SPDX-License-Identifier: Apache-2.0
"""Renders the live display: frequencies, guests and events; pure."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING

from rich.console import Group
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from examples.demo.charts import Scale, bar, draw, resample
from examples.demo.loads import load_table
from examples.demo.recording import p50_p99
from orchestrator.values.cpuset import format_cpulist
from orchestrator.values.units import format_khz

if TYPE_CHECKING:
    from rich.console import JustifyMethod, RenderableType

    from examples.demo.recording import Recording, VCpuTrack
    from orchestrator.power.group import ClockGroup

_CHART_ROWS = 4
_ROW_STYLES = ("yellow", "green", "cyan", "blue")
"""From the highest frequency to the lowest."""
_FREQUENCY_BAR_CELLS = 16
_BAR_CELLS = 10
_NARROW_BAR_CELLS = 6
_WIDE_CELLS = 100
"""Narrower displays omit redundant columns."""
_WHERE = "on"
_LEFT_TITLES = ("vCPU", _WHERE, "queue")
_TITLES = (
    *_LEFT_TITLES,
    *("packets/s", "requests/s", "ACK", "NACK", "late", "p50", "p99"),
)
_QUEUE_PACKETS = 8192
"""Capacity of a guest's queue, see forwarder.c."""
_LONG_QUEUE = 1024
"""From this length a guest requests a step up."""
_LEFT_CELLS = 30
_AXIS_CELLS = 7
_MAX_EVENTS = 9
_FIXED_ROWS = 9
"""Title, header, footer, the lines between them, and one that Live needs."""
_GROUP_ROWS = 4
"""Of a clock group, in addition to those of its vCPUs."""
_TIME_CELLS = 10
_MARGIN = 1


def live_picture(recording: Recording, width: int, height: int) -> RenderableType:
    """Render the current state; events get the remaining rows."""
    parts = [
        _title(recording, width - 2 * _MARGIN),
        Text(""),
        *(_frequency(recording, group, width) for group in recording.setup.groups),
        _guests(recording, width),
        Text(""),
        _footer(recording),
    ]
    tracks, groups = len(recording.tracks), len(recording.frequencies)
    rows = tracks + recording.setup.has_p_states * len(recording.setup.guests)
    free = height - _FIXED_ROWS - rows - groups * (_GROUP_ROWS + tracks // groups)
    if free > 0 and recording.events:
        parts.insert(-1, _events(recording, min(free, _MAX_EVENTS), width))
        parts.insert(-1, Text(""))
    return Padding(Group(*parts), (0, _MARGIN), expand=False)


def group_name(group: ClockGroup) -> str:
    """Return the name of a clock group: its CPUs."""
    return f"CPU {format_cpulist(group.pcpus)}"


def _title(recording: Recording, width: int) -> RenderableType:
    setup = recording.setup
    left = Text().append("vmpower demo", "bold")
    guests = "1 guest" if len(setup.guests) == 1 else f"{len(setup.guests)} guests"
    left.append(f"  {guests}, {open_channels(recording)}", "dim")
    at_s = min(recording.at_s, setup.seconds)
    right = Text()
    filled, empty = bar(at_s / setup.seconds, _FREQUENCY_BAR_CELLS)
    right.append(filled, "cyan").append(empty, "bright_black")
    right.append(f" {at_s:2.0f} of {setup.seconds} s", "dim")
    grid = Table.grid(expand=True)
    grid.add_column()
    grid.add_column(justify="right")
    grid.add_row(left, right)
    grid.width = width
    return grid


def open_channels(recording: Recording) -> str:
    """Count the open channels of the guests."""
    # One for each vCPU, or with P-states one for the guest.
    found = {
        (track.guest, 0 if recording.setup.has_p_states else track.vcpu): track.channel
        for track in recording.tracks.values()
    }
    opened = [it for it in found.values() if it and it["state"] == "open"]
    return f"{len(opened)} of {len(found)} channels open"


def _frequency(recording: Recording, group: ClockGroup, width: int) -> RenderableType:
    khz = recording.current_khz(group.number)
    scale = frequency_scale(group)
    head = Text().append(group_name(group), "bold")
    if group.is_simulated:
        head.append(" simulated", "yellow")
    now = Text().append(f"{format_khz(khz):<8} ", "bold cyan")
    filled, empty = bar(scale.share(khz or 0), _FREQUENCY_BAR_CELLS)
    now.append(filled, "cyan").append(empty, "bright_black")
    rows = [head, now, *_requests(recording, group)]
    chart_cells = max(20, width - 2 * _MARGIN - _LEFT_CELLS - _AXIS_CELLS)
    chart = frequency_chart(recording, group, chart_cells)
    grid = Table.grid()
    grid.add_column(width=_LEFT_CELLS)
    grid.add_column(no_wrap=True)
    for index in range(max(len(rows), len(chart) + 1)):
        left = rows[index] if index < len(rows) else Text("")
        grid.add_row(left, chart[index] if index < len(chart) else Text(""))
    return Group(grid, Text(""))


def frequency_scale(group: ClockGroup) -> Scale:
    """Return the scale of a clock group, from its lowest step to its highest."""
    return Scale(group.steps.lowest_khz, group.steps.highest_khz)


def frequency_chart(
    recording: Recording, group: ClockGroup, width: int, rows: int = _CHART_ROWS
) -> list[Text]:
    """Draw the frequency of a clock group over time, one text per row."""
    points = recording.frequencies[group.number]
    values = resample(points, recording.setup.seconds, width)
    lines = draw(values, frequency_scale(group), rows)
    steps = group.steps
    labels = {0: steps.highest_khz, rows - 1: steps.lowest_khz}
    chart = []
    for index, line in enumerate(lines):
        ghz = f"{labels[index] / 1e6:.2f}" if index in labels else ""
        text = Text().append(f"{ghz:>{_AXIS_CELLS - 2}} ", "dim")
        text.append("▏", "bright_black")
        chart.append(text.append(line, _ROW_STYLES[index * len(_ROW_STYLES) // rows]))
    return chart


def _requests(recording: Recording, group: ClockGroup) -> list[Text]:
    governor = recording.current_governor(group.number)
    rows = [Text(f"governor {governor}", "dim")]
    tracks = [x for x in recording.tracks_of(group) if x.requested_khz is not None]
    highest = max((x.requested_khz or 0 for x in tracks), default=0)
    for track in tracks:
        style = "" if track.requested_khz == highest else "dim"
        rows.append(
            Text(f"{track.name} requests {format_khz(track.requested_khz)}", style)
        )
    return rows


def _guests(recording: Recording, width: int) -> RenderableType:
    if recording.setup.has_p_states:
        return load_table(recording)
    return _channel_guests(recording, width)


def _channel_guests(recording: Recording, width: int) -> RenderableType:
    is_narrow = width < _WIDE_CELLS
    table = Table(
        box=None,
        padding=(0, 1 if is_narrow else 2, 0, 0),
        pad_edge=False,
        header_style="dim",
    )
    titles = [title for title in _TITLES if not (is_narrow and title == _WHERE)]
    for title in titles:
        justify: JustifyMethod = "left" if title in _LEFT_TITLES else "right"
        table.add_column(title, justify=justify, no_wrap=True)
    bar_cells = _NARROW_BAR_CELLS if is_narrow else _BAR_CELLS
    for track in recording.tracks.values():
        cells = _guest_cells(track, bar_cells)
        table.add_row(*(cells.get(title, "") for title in titles))
    return table


def _guest_cells(track: VCpuTrack, bar_cells: int) -> dict[str, Text]:
    cells = {
        "vCPU": Text(track.name, "bold"),
        _WHERE: Text(f"CPU {track.pcpu}", "dim"),
    }
    report = track.latest
    if report is None:
        state = track.channel["state"] if track.channel else "no channel"
        return cells | {"queue": Text(f"booting, {state}", "dim")}
    p50, p99 = p50_p99(track.rtt_us)
    rate, requests = track.packets_per_s(), track.requests_per_s()
    return cells | {
        "queue": _queue(report.queue, bar_cells),
        "packets/s": Text("-" if rate is None else f"{rate:,.0f}"),
        "requests/s": Text("-" if requests is None else f"{requests:.0f}"),
        "ACK": count_text(report.acks),
        "NACK": count_text(report.nacks, "red"),
        "late": count_text(report.none, "yellow"),
        "p50": Text(p50),
        "p99": Text(p99),
    }


def count_text(number: int, style: str = "") -> Text:
    """Format a count; zero is dimmed."""
    return Text(f"{number:,}", style if number else "dim")


def _queue(packets: int, bar_cells: int) -> Text:
    filled, empty = bar(packets / _QUEUE_PACKETS, bar_cells)
    style = "yellow" if packets >= _LONG_QUEUE else "green"
    text = Text().append(filled, style).append(empty, "bright_black")
    return text.append(f" {packets:>5,}")


def _events(recording: Recording, rows: int, width: int) -> RenderableType:
    grid = Table.grid(padding=(0, 2, 0, 0))
    for event in recording.notable_events()[-rows:]:
        at = datetime.fromisoformat(event["time"]).astimezone()
        what = f"{event['domain']}: " if event["domain"] else ""
        text = Text(f"{what}{event['text']}", overflow="ellipsis", no_wrap=True)
        text.truncate(width - 2 * _MARGIN - _TIME_CELLS, overflow="ellipsis")
        grid.add_row(Text(f"{at:%H:%M:%S}", "dim"), text)
    return grid


def _footer(recording: Recording) -> RenderableType:
    setup = recording.setup
    lines = []
    if setup.is_simulated:
        lines.append(
            Text()
            .append("simulated: ", "yellow")
            .append(
                "the CPUs are files; no frequency of this host changes",
                "dim",
            )
        )
    lines.append(Text(f"in another terminal: {status_command(setup.run_dir)}", "dim"))
    return Group(*lines)


def status_command(run_dir: str) -> str:
    """Return the command that shows the daemon's status."""
    return f".venv/bin/vmpower --run-dir {run_dir} status"
