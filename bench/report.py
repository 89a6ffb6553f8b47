# SPDX-License-Identifier: Apache-2.0
"""The benchmark's tables."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich import box
from rich.table import Table
from rich.text import Text

from bench.aims import judge, neighbour_ratios, ratios
from bench.figures import spread

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from rich.console import RenderableType

    from bench.aims import Verdict
    from bench.figures import (
        Comparison,
        Exchange,
        GuestWrites,
        Obeyed,
        Results,
        SavingRow,
        Scale,
        Scrape,
        Verification,
    )

_MANY_US = 1_000
_ROWS = (
    ("round trip p50", "p50_us", "µs"),
    ("p99", "p99_us", "µs"),
    ("p99.9", "p999_us", "µs"),
    ("requests/s", "requests_per_s", ""),
    ("writes per request", "writes_per_request", ""),
    ("CPU per request", "cpu_us_per_request", "µs"),
    ("pipelined requests/s", "stream.requests_per_s", ""),
    ("clock writes/s", "stream.writes_per_s", ""),
    ("CPU per request", "stream.cpu_us_per_request", "µs"),
    ("answers lost", "lost", ""),
)
"""A row's label, the figure that it shows, and its unit."""


def render(results: Results) -> Iterator[RenderableType]:
    """Render all measurements."""
    for name, value in results.circumstances.items():
        yield Text(f"{name}: {value}")
    for comparison in results.comparisons:
        yield _render_comparison(comparison)
    if results.neighbours:
        yield _render_neighbours(results)
    if results.idle or results.discoveries or results.arrivals:
        yield _render_daemon(results)
    if results.scales:
        yield _render_scales(results.scales)
    yield from _render_costs(results)
    yield from _render_clients(results)
    yield _render_verdicts(judge(results))


def _render_comparison(comparison: Comparison) -> Table:
    domains = "channel" if comparison.channels == 1 else "channels"
    title = f"{comparison.channels} {domains}{comparison.variant}, {comparison.entry}"
    table = _table(title)
    table.add_column("median (quartiles)")
    for exchange in comparison.exchanges:
        table.add_column(exchange.server, justify="right")
    table.add_column("vmpowerd / C unb.", justify="right")
    for name, figure, unit in _ROWS:
        cells = [_cell(_values(e, figure), unit) for e in comparison.exchanges]
        is_new_part = figure == "cpu_us_per_request"
        table.add_row(name, *cells, _ratio(comparison, figure), end_section=is_new_part)
    return table


def _render_costs(results: Results) -> Iterator[RenderableType]:
    if results.obeyed:
        yield _render_obeyed(results.obeyed)
    if results.guest_writes:
        yield _render_guest_writes(results.guest_writes)
    if results.verification:
        yield _render_verification(results.verification)


def _values(exchange: Exchange, figure: str) -> list[float | None]:
    if figure == "lost":
        return [
            float(sum(run.lost for run in exchange.round_trips))
            + sum(run.lost for run in exchange.streams)
        ]
    kind, _, field = figure.rpartition(".")
    if kind == "stream":
        return [getattr(run, field) for run in exchange.streams]
    return [getattr(run, field) for run in exchange.round_trips]


def _ratio(comparison: Comparison, figure: str) -> str:
    if figure == "lost":
        return ""
    try:
        return f"{spread(ratios(comparison, figure)).median:.2f}x"
    except ValueError:
        return "-"


def _cell(values: Sequence[float | None], unit: str) -> str:
    known = [value for value in values if value is not None]
    if not known:
        return "-"
    found = spread(known)
    scale = 1.0
    if unit == "µs" and found.median >= _MANY_US:
        unit, scale = "ms", 1e-3
    low, median, high = (
        _number(value * scale) for value in (found.low, found.median, found.high)
    )
    quartiles = f" ({low}-{high})" if len(known) > 1 else ""
    return f"{median} {unit}".rstrip() + quartiles


def _number(value: float) -> str:
    """Format three digits or a few more: no measurement here is more precise."""
    if value >= 100_000:
        return f"{value / 1000:.0f}k"
    if value >= 10_000:
        return f"{value / 1000:.1f}k"
    if value >= 100 or value == int(value):
        return f"{value:.0f}"
    return f"{value:.1f}" if value >= 10 else f"{value:.2f}"


def _render_daemon(results: Results) -> Table:
    table = _table("the daemon, every feature on")
    table.add_column("")
    table.add_column("main", justify="right")
    table.add_column("monitor", justify="right")
    table.add_column("together", justify="right")
    if idle := results.idle:
        cpus = (idle.main_cpu_pct, idle.monitor_cpu_pct)
        table.add_row(
            f"idle CPU, {idle.channels} channels open, {idle.seconds:.0f} s",
            *(f"{pct:.3f} %" for pct in (*cpus, sum(cpus))),
        )
        if idle.main_pss_bytes and idle.monitor_pss_bytes:
            sizes = (idle.main_pss_bytes, idle.monitor_pss_bytes)
            cells = (f"{size / 1e6:.1f} MB" for size in (*sizes, sum(sizes)))
            table.add_row("memory (PSS)", *cells)
    for name, values in _openings(results):
        table.add_row(name, "", "", _cell(values, "ms"))
    return table


def _render_scales(scales: Sequence[Scale]) -> Table:
    table = _table("the daemon's main process beside many domains")
    table.add_column("")
    for scale in scales:
        table.add_column(
            f"{scale.domains} domains, {scale.channels} channels", justify="right"
        )
    for name, cells in (
        ("all connected", (f"{scale.connected_ms:.0f} ms" for scale in scales)),
        ("CPU until then", (f"{scale.connect_cpu_s:.2f} s" for scale in scales)),
        ("CPU of one restart", (f"{scale.restart_cpu_ms:.1f} ms" for scale in scales)),
        ("CPU of a storm", (f"{scale.storm_cpu_s:.2f} s" for scale in scales)),
    ):
        table.add_row(name, *cells)
    return table


def _render_obeyed(obeyed: Sequence[Obeyed]) -> Table:
    table = _table("from a request to its frequency in sysfs, by kind of channel")
    table.add_column("")
    for title in ("p50", "p99", "CPU per request", "idle CPU"):
        table.add_column(title, justify="right")
    for one in obeyed:
        guests = "guest" if one.channels == 1 else "guests at once"
        table.add_row(
            f"{one.kind}, {one.channels} {guests}",
            f"{_number(one.p50_us)} µs",
            f"{_number(one.p99_us)} µs",
            f"{_number(one.cpu_us_per_request)} µs",
            f"{one.idle_cpu_pct:.3f} %",
        )
    return table


def _render_guest_writes(guest_writes: Sequence[GuestWrites]) -> Table:
    live = guest_writes[0]
    table = _table(
        f"{live.writes} requests of a guest's cpufreq driver, by what is stopped"
    )
    table.add_column("stopped")
    for title in ("fastest", "relative", "QEMU's CPU"):
        table.add_column(title, justify="right")
    for one in guest_writes:
        table.add_row(
            one.stopped,
            f"{one.fastest_s:.2f} s",
            f"{one.fastest_s / live.fastest_s:.2f} x",
            f"{min(one.cpu_s):.2f} s",
        )
    return table


def _render_verification(verification: Verification) -> Table:
    groups, seconds = verification.groups, verification.interval_s
    table = _table(
        f"verifying {groups} taken clock groups, simulated, every {seconds:g} s"
    )
    table.add_column("CPU time")
    table.add_column("each time", justify="right")
    for name, microseconds in (
        ("governors and frequencies", verification.drift_us),
        ("their files, read and ignored", verification.reads_us),
        ("the kernel's limits", verification.limits_us),
    ):
        table.add_row(name, f"{microseconds:.0f} µs")
    return table


def _render_clients(results: Results) -> Iterator[RenderableType]:
    if results.starts_ms or results.watching:
        yield _render_command(results)
    if results.scrape:
        yield _render_scrape(results.scrape)
    if results.saving:
        yield _render_saving(results.saving, "")
    if results.saving_own_bursts:
        yield _render_saving(results.saving_own_bursts, ", bursts as fast at night")


def _render_command(results: Results) -> Table:
    table = _table("the command")
    table.add_column("")
    table.add_column("median (quartiles)", justify="right")
    if results.starts_ms:
        times = _cell(results.starts_ms, "ms")
        table.add_row("vmpower status, from exec to exit", times)
    if watching := results.watching:
        for who, cpu_s in (
            ("vmpower top", watching.top_cpu_s),
            ("the daemon beside it", watching.daemon_cpu_s),
        ):
            table.add_row(
                f"CPU of {who} in a minute, {watching.vcpus} vCPUs", f"{cpu_s:.2f} s"
            )
    return table


def _render_saving(rows: Sequence[SavingRow], which: str) -> Table:
    table = _table(f"a day of polling guests in virtual time, energy modelled{which}")
    table.add_column("")
    for title in (
        *("package", "saved", "delay p50", "p99.9", "/ highest", "lost"),
        "changes/s",
    ):
        table.add_column(title, justify="right")
    base = rows[0]
    for row in rows:
        table.add_row(
            row.name,
            f"{row.mean_w:.1f} W",
            f"{row.saved_pct(base):.1f} %",
            _cell([row.p50_us], "µs"),
            _cell([row.p999_us], "µs"),
            f"{row.p999_us / base.p999_us:.2f}x",
            f"{row.lost:.1e}",
            f"{row.changes_per_s:.2f}",
        )
    return table


def _render_scrape(scrape: Scrape) -> Table:
    table = _table(
        f"a scrape of {scrape.vcpus} vCPUs: {scrape.series} series,"
        f" {scrape.size_bytes / 1e3:.0f} kB"
    )
    table.add_column("")
    table.add_column("median (quartiles)", justify="right")
    table.add_row("connection to last byte", _cell(scrape.took_ms, "ms"))
    table.add_row("CPU of the daemon", _cell(scrape.cpu_ms, "ms"))
    return table


def _openings(results: Results) -> Iterator[tuple[str, list[float | None]]]:
    if found := results.discoveries:
        start = f"exec to {found[0].domains} domains' channels"
        yield f"{start} connected", [one.connected_ms for one in found]
        yield f"{start} obeyed", [one.obeyed_ms for one in found]
    if arrived := results.arrivals:
        yield (
            "start of a domain to channel connected",
            [one.connected_ms for one in arrived],
        )
        yield "start of a domain to first ACK", [one.obeyed_ms for one in arrived]


def _render_neighbours(results: Results) -> Table:
    table = _table("good channels beside a bad one")
    for title in ("the bad one", "it sends", "p50", "p99", "lost", "p99 / quiet"):
        table.add_column(title, justify="left" if title == "the bad one" else "right")
    for neighbour in results.neighbours:
        runs = neighbour.runs
        ratio = spread(neighbour_ratios(results, neighbour)).median
        table.add_row(
            neighbour.kind,
            f"{spread(run.flood_mb_per_s for run in runs).median:.1f} MB/s",
            _cell([run.p50_us for run in runs], "µs"),
            _cell([run.p99_us for run in runs], "µs"),
            str(sum(run.lost for run in runs)),
            f"{ratio:.2f}x",
        )
    return table


def _render_verdicts(verdicts: Sequence[Verdict]) -> Table:
    table = _table("aims")
    table.add_column("")
    table.add_column("aim", justify="right")
    table.add_column("measured", justify="right")
    table.add_column("")
    for verdict in verdicts:
        sign = "≤" if verdict.is_upper else "≥"
        distance = f"{verdict.distance_pct:.0f} %"
        word = (
            Text("met", style="green")
            if verdict.is_met
            else Text(f"missed by {distance}", style="bold red")
        )
        table.add_row(
            verdict.what,
            f"{sign} {verdict.limit:g}{verdict.unit}",
            f"{verdict.measured:.2f}{verdict.unit}",
            word,
        )
    return table


def _table(title: str) -> Table:
    return Table(title=title, title_justify="left", title_style="bold", box=box.SIMPLE)
