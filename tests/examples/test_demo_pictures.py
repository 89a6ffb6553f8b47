# SPDX-License-Identifier: Apache-2.0
"""Charts, pictures and summaries of the demo."""

from __future__ import annotations

import io
from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from examples.demo.charts import Scale, draw, percentile, resample
from examples.demo.consoles import VCpuReport, parse_load, parse_report
from examples.demo.picture import live_picture
from examples.demo.plain_text import plain_text
from examples.demo.recording import Recording, Setup
from examples.demo.summary import restored_text
from orchestrator.power.group import ClockGroup
from orchestrator.values.domain import PCpu
from orchestrator.values.frequencies import table_from

LINE = (
    "@ vcpu=1 ms=250 queue=7 arrived=40 served=30 lost=3 mhz=1800"
    " sent=4 acks=3 nacks=1 none=0 late=0 rtt_us=800,950"
)
GROUP = ClockGroup(
    number=0,
    pcpus=frozenset({PCpu(0)}),
    driver="acpi-cpufreq",
    mechanism="setspeed",
    identity=1,
    governor="schedutil",
    min_khz=1_200_000,
    max_khz=3_000_000,
    steps=table_from([1_200_000, 2_100_000, 3_000_000]),
    is_simulated=True,
)
SETUP = Setup(
    seconds=10,
    groups=(GROUP,),
    pins=(PCpu(0), PCpu(0)),
    guests=("router",),
    run_dir="/tmp/r",
)


def render(recording: Recording, width: int, height: int) -> str:
    console = Console(file=io.StringIO(), width=width, height=height)
    with console.capture() as capture:
        console.print(live_picture(recording, width, height))
    return capture.get()


def test_a_report_line_of_a_guest_is_parsed() -> None:
    report = parse_report(LINE)
    assert report is not None
    assert (report.vcpu, report.acks, report.rtt_us) == (1, 3, (800, 950))


def test_truncated_lines_and_kernel_messages_are_ignored() -> None:
    assert parse_report(LINE[:60]) is None
    assert parse_report(LINE.replace("ms=250", "ms=2@0")) is None
    assert parse_report("[    0.5] @ vcpu=1") is None


LOAD = "@ vcpu=1 ms=250 load=60 khz=2100000 changes=1234 governor=schedutil"


def test_a_guest_with_p_states_shows_its_load_and_what_it_requests() -> None:
    report = parse_load(LOAD)
    assert report is not None
    recording = Recording(replace(SETUP, has_p_states=True))
    recording.add_loads("router", [report])
    picture = render(recording, 80, 24)
    assert len(picture.splitlines()) <= 24
    assert "0 of 1 channels open" in picture
    (row,) = [line for line in picture.splitlines() if line.startswith(" router/1")]
    shown = row.replace("─", "").replace("━", "").replace("╸", "").split()
    assert shown[1:] == ["CPU", "0", "60", "%", "schedutil", "2.10", "GHz", "1,234"]
    assert "booting" in plain_text(Recording(replace(SETUP, has_p_states=True)))
    assert "load  60 %" in plain_text(recording)


def test_truncated_lines_of_a_load_are_ignored() -> None:
    assert parse_load(LOAD.split("changes")[0]) is None
    assert parse_load(LOAD.replace("ms=250", "ms=2@0")) is None
    assert parse_load(LOAD.removeprefix("@ ")) is None


def test_columns_without_samples_repeat_the_last_value() -> None:
    points = [(0.0, 1.0), (0.5, 3.0), (4.0, 5.0)]
    assert resample(points, 10.0, 10) == [2.0, 2.0, 2.0, 2.0, 5.0, *[None] * 5]


@given(st.lists(st.floats(0, 10) | st.none(), max_size=20), st.integers(1, 6))
def test_a_chart_has_a_mark_in_every_column_with_a_value(
    values: list[float | None], height: int
) -> None:
    lines = draw(values, Scale(0, 10), height)
    assert len(lines) == height
    bottom = lines[-1]
    assert [mark != " " for mark in bottom] == [value is not None for value in values]


def test_a_chart_reaches_from_an_eighth_to_the_top() -> None:
    assert draw([0, 5, 10, None], Scale(0, 10), 2) == ["  █ ", "▁██ "]


def test_percentiles_are_values_that_occurred() -> None:
    assert percentile([], 50) is None
    assert percentile([7], 99) == 7
    assert percentile(range(100, 0, -1), 50) == 51
    assert percentile(range(1, 101), 99) == 100


def test_the_picture_fits_a_small_terminal_and_is_marked_simulated() -> None:
    recording = Recording(SETUP)
    report = parse_report(LINE)
    assert isinstance(report, VCpuReport)
    recording.add_reports("router", [report])
    picture = render(recording, 80, 24)
    assert len(picture.splitlines()) <= 24
    assert max(map(len, picture.splitlines())) <= 80
    assert "simulated" in picture
    assert "router/1" in picture


def test_cpus_that_are_not_restored_are_listed() -> None:
    text = restored_text(["devices/x"], 3, 0.1).plain
    assert text.startswith("no")
    assert "devices/x" in text
