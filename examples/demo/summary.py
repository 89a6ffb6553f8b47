"""What is printed at the end; a pure renderer."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.console import Group
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from examples.demo.picture import clock_chart, count_text, group_name
from examples.demo.recording import p50_p99
from orchestrator.values.units import format_khz

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.console import RenderableType

    from examples.demo.performance import Outcome
    from examples.demo.recording import Lane, Recording
    from orchestrator.power.group import ClockGroup

_CHART_ROWS = 4
_CHART_CELLS = 72
_AXIS_CELLS = 7
_SHOWN_FILES = 5


def summary(outcome: Outcome, width: int) -> RenderableType:
    """Draw what came of it."""
    recording = outcome.recording
    parts: list[RenderableType] = [Text("")]
    for group in recording.scene.groups:
        parts += [_clock(recording, group, width), Text("")]
    parts += [_requests(recording), Text(""), *_facts(outcome)]
    return Padding(Group(*parts), (0, 1), expand=False)


def _clock(recording: Recording, group: ClockGroup, width: int) -> RenderableType:
    scene = recording.scene
    head = Text().append(group_name(group), "bold").append(f" over {scene.seconds} s")
    if group.is_simulated:
        head.append(", simulated", "yellow")
    khz = [value for _, value in recording.clocks[group.number]]
    if khz:
        mean = round(sum(khz) / len(khz))
        head.append(
            f": {format_khz(round(min(khz)))} to {format_khz(round(max(khz)))},"
            f" {format_khz(mean)} in the mean",
            "dim",
        )
    cells = max(20, min(_CHART_CELLS, width - _AXIS_CELLS - 4))
    chart = clock_chart(recording, group, cells, _CHART_ROWS)
    left, right = "0 s", f"{scene.seconds} s"
    axis = f"{'':{_AXIS_CELLS - 1}}{left}{right:>{cells + 1 - len(left)}}"
    return Group(head, *chart, Text(axis, "dim"))


def _requests(recording: Recording) -> RenderableType:
    table = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False, header_style="dim")
    table.add_column("vCPU")
    for title in ("requests", "ACK", "NACK", "late", "p50", "p99"):
        table.add_column(title, justify="right")
    table.add_column("packets served", justify="right")
    table.add_column("lost", justify="right")
    lanes = list(recording.lanes.values())
    for lane in lanes:
        table.add_row(Text(lane.name, "bold"), *_row([lane]))
    table.add_row(Text("all", "bold"), *_row(lanes))
    return table


def _row(lanes: list[Lane]) -> list[Text]:
    reports = [lane.latest for lane in lanes if lane.latest]
    p50, p99 = p50_p99([trip for lane in lanes for trip in lane.rtt_us])
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


def _facts(outcome: Outcome) -> list[RenderableType]:
    recording = outcome.recording
    opened_ms = recording.opened_after_ms()
    channels = [x.channel for x in recording.lanes.values() if x.channel]
    served = sum(c["requests_total"] for c in channels)
    acks = sum(c["acks_total"] for c in channels)
    nacks = sum(c["nacks_total"] for c in channels)
    late = sum(c["late_total"] + c["dropped_total"] for c in channels)
    grid = Table.grid(padding=(0, 2, 0, 0))
    if opened_ms is not None:
        when = f"within {opened_ms} ms after" if opened_ms > 0 else "before"
        grid.add_row(
            Text("discovery", "dim"),
            f"{len(channels)} channels open, {when} their domains were seen running",
        )
    grid.add_row(
        Text("requests served", "dim"),
        f"{served:,} by the daemon's own count: {acks:,} ACK, {nacks:,} NACK,"
        f" {late:,} too old to answer",
    )
    grid.add_row(
        Text("latency", "dim"),
        "from the beginning of a guest's write, which takes milliseconds where it is"
        " emulated, to its whole answer",
    )
    grid.add_row(
        Text("late", "dim"),
        "not answered within 10 ms after the write, librte_power's patience",
    )
    restored = restored_text(
        outcome.changed_files, outcome.compared_files, outcome.restored_in_s
    )
    grid.add_row(Text("everything restored", "dim"), restored)
    grid.add_row(
        Text("time", "dim"),
        f"{outcome.boot_to_end_s:.1f} s from the first boot to the last clock restored",
    )
    for line in outcome.surprises:
        grid.add_row(Text("the daemon warned", "yellow"), Text(line))
    return [grid]


def restored_text(
    changed_files: Sequence[str], compared_files: int, restored_in_s: float
) -> Text:
    """Say whether everything was restored."""
    if changed_files:
        shown = ", ".join(changed_files[:_SHOWN_FILES])
        return Text().append("no", "bold red").append(f": {shown} differ from before")
    return (
        Text()
        .append("yes", "bold green")
        .append(
            f": all {compared_files} files of the CPU tree byte for byte,"
            f" {restored_in_s:.2f} s after the stop"
        )
    )


def what_next(*, is_dpdk: bool) -> RenderableType:
    """Say what to type next."""
    other = "make demo" if is_dpdk else "make demo ARGS=--dpdk"
    about = "the show with traffic" if is_dpdk else "DPDK's own test suite as the guest"
    grid = Table.grid(padding=(0, 2, 0, 0))
    for command, text in (
        (other, about),
        ("make demo ARGS=--host-cpus", "the same on this machine's own clocks"),
        (
            ".venv/bin/vmpower simulate /tmp/cpus --cpus 4",
            "simulated CPUs to play with",
        ),
        (".venv/bin/vmpowerd --help", "the daemon itself, for your own domains"),
        (".venv/bin/vmpower domain add dpdk-1 --vcpus 2 --pin 0-1", "such a domain"),
    ):
        grid.add_row(Text(command, "cyan"), Text(text, "dim"))
    parts = (Text(""), Text("What next", "bold"), grid)
    return Padding(Group(*parts), (0, 1), expand=False)
