# SPDX-License-Identifier: Apache-2.0
"""Renders the summary at the end; pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.console import Group
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from examples.demo.loads import load_table
from examples.demo.picture import count_text, frequency_chart, group_name
from examples.demo.recording import p50_p99
from orchestrator.values.units import format_khz

if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence

    from rich.console import RenderableType

    from examples.demo.recording import Recording, VCpuTrack
    from examples.demo.traffic import TrafficResult
    from orchestrator.power.group import ClockGroup

_CHART_ROWS = 4
_CHART_CELLS = 72
_AXIS_CELLS = 7
_SHOWN_FILES = 5


def summary(result: TrafficResult, width: int) -> RenderableType:
    """Render the result."""
    recording = result.recording
    parts: list[RenderableType] = [Text("")]
    for group in recording.setup.groups:
        parts += [_frequency(recording, group, width), Text("")]
    if recording.setup.has_p_states:
        parts += [load_table(recording), Text(""), _p_state_facts(result)]
    else:
        parts += [_requests(recording), Text(""), _facts(result)]
    return Padding(Group(*parts), (0, 1), expand=False)


def _frequency(recording: Recording, group: ClockGroup, width: int) -> RenderableType:
    setup = recording.setup
    head = Text().append(group_name(group), "bold").append(f" over {setup.seconds} s")
    if group.is_simulated:
        head.append(", simulated", "yellow")
    khz = [value for _, value in recording.frequencies[group.number]]
    if khz:
        mean = round(sum(khz) / len(khz))
        head.append(
            f": {format_khz(round(min(khz)))} to {format_khz(round(max(khz)))},"
            f" {format_khz(mean)} on average",
            "dim",
        )
    cells = max(20, min(_CHART_CELLS, width - _AXIS_CELLS - 4))
    chart = frequency_chart(recording, group, cells, _CHART_ROWS)
    left, right = "0 s", f"{setup.seconds} s"
    axis = f"{'':{_AXIS_CELLS - 1}}{left}{right:>{cells + 1 - len(left)}}"
    return Group(head, *chart, Text(axis, "dim"))


def _requests(recording: Recording) -> RenderableType:
    table = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False, header_style="dim")
    table.add_column("vCPU")
    for title in ("requests", "ACK", "NACK", "late", "p50", "p99"):
        table.add_column(title, justify="right")
    table.add_column("packets served", justify="right")
    table.add_column("lost", justify="right")
    tracks = list(recording.tracks.values())
    for track in tracks:
        table.add_row(Text(track.name, "bold"), *_row([track]))
    table.add_row(Text("all", "bold"), *_row(tracks))
    return table


def _row(tracks: list[VCpuTrack]) -> list[Text]:
    reports = [track.latest for track in tracks if track.latest]
    p50, p99 = p50_p99([trip for track in tracks for trip in track.rtt_us])
    return [
        count_text(sum(r.sent for r in reports)),
        count_text(sum(r.acks for r in reports)),
        count_text(sum(r.nacks for r in reports), "red"),
        count_text(sum(r.none for r in reports), "yellow"),
        Text(p50),
        Text(p99),
        count_text(sum(r.served for r in reports)),
        count_text(sum(r.lost for r in reports), "yellow"),
    ]


def _facts(result: TrafficResult) -> RenderableType:
    recording = result.recording
    opened_ms = recording.opened_after_ms()
    channels = [x.channel for x in recording.tracks.values() if x.channel]
    served = sum(c["requests_total"] for c in channels)
    acks = sum(c["acks_total"] for c in channels)
    nacks = sum(c["nacks_total"] for c in channels)
    late = sum(c["late_total"] + c["dropped_total"] for c in channels)
    grid = Table.grid(padding=(0, 2, 0, 0))
    if opened_ms is not None:
        when = f"within {opened_ms} ms after" if opened_ms > 0 else "before"
        grid.add_row(
            Text("discovery", "dim"),
            f"{len(channels)} channels open, {when} their domains were running",
        )
    grid.add_row(
        Text("requests served", "dim"),
        f"{served:,} by the daemon's counters: {acks:,} ACK, {nacks:,} NACK,"
        f" {late:,} too late to answer",
    )
    grid.add_row(
        Text("latency", "dim"),
        "from the start of a guest's write, which takes milliseconds under emulation,"
        " to its complete answer",
    )
    grid.add_row(
        Text("late", "dim"),
        "no answer within 10 ms after the write, the timeout of librte_power",
    )
    _add_end(grid, result)
    return grid


def _p_state_facts(result: TrafficResult) -> RenderableType:
    grid = Table.grid(padding=(0, 2, 0, 0))
    grid.add_row(
        Text("in the guest", "dim"),
        "a kernel of Debian with its modules, and a shell: nothing of vmpower or DPDK",
    )
    grid.add_row(
        Text("changes", "dim"),
        "of its frequency since the boot, counted by the guest's kernel; those before"
        " the daemon was connected, it did not receive",
    )
    _add_end(grid, result)
    return grid


def _add_end(grid: Table, result: TrafficResult) -> None:
    restored = restored_text(
        result.changed_files, result.compared_files, result.restored_in_s
    )
    grid.add_row(Text("everything restored", "dim"), restored)
    grid.add_row(
        Text("time", "dim"),
        f"{result.boot_to_end_s:.1f} s from the first boot until all was restored",
    )
    for line in result.warnings:
        grid.add_row(Text("daemon's warning", "yellow"), Text(line))


def restored_text(
    changed_files: Sequence[str], compared_files: int, restored_in_s: float
) -> Text:
    """Describe whether everything was restored."""
    if changed_files:
        shown = ", ".join(changed_files[:_SHOWN_FILES])
        return Text().append("no", "bold red").append(f": {shown} differ from before")
    return (
        Text()
        .append("yes", "bold green")
        .append(
            f": all {compared_files} files of the CPU tree are identical,"
            f" {restored_in_s:.2f} s after the stop"
        )
    )


def next_steps(options: argparse.Namespace) -> RenderableType:
    """List commands to try next."""
    is_traffic = not (options.dpdk or options.p_states)
    demos = {
        ("make demo", "guests with changing traffic"): is_traffic,
        ("make demo ARGS=--dpdk", "DPDK's own test in a guest"): options.dpdk,
        ("make demo ARGS=--p-states", "an unmodified Linux guest"): options.p_states,
    }
    grid = Table.grid(padding=(0, 2, 0, 0))
    for command, text in (
        *(demo for demo, is_this in demos.items() if not is_this),
        ("make demo ARGS=--host-cpus", "the same with the CPUs of this host"),
        (".venv/bin/vmpower try", "type commands yourself, on simulated CPUs"),
        (".venv/bin/vmpowerd --help", "the daemon, for your own domains"),
        (
            ".venv/bin/vmpower domain add dpdk-1 --vcpus 2 --pin 0-1",
            "the XML of such a domain",
        ),
    ):
        grid.add_row(Text(command, "cyan"), Text(text, "dim"))
    parts = (Text(""), Text("Next steps", "bold"), grid)
    return Padding(Group(*parts), (0, 1), expand=False)
