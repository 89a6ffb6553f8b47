# SPDX-License-Identifier: Apache-2.0
"""The charts of a report."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from cli.output.chart import SCALE, Bar, Series, bar_chart, column_chart, line_chart
from cli.output.tables.cells import format_range
from cli.report.figures import DAY_S, HOUR_S, begin_of, watts
from orchestrator.values.units import format_khz

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from datetime import tzinfo

    from cli.output.report_documents import Report
    from orchestrator.control.documents import History, HistoryDomain, HistoryHost

_MINUTE_S = 60
_MINUTES_KEPT = timedelta(days=2)
"""Of what is older, vmpowerd knows hours only."""
_NOON = 12
_NOON_UP_TO_S = 4 * DAY_S
"""Charts of longer periods have dates only."""
_LEAST_LABELED = 10
"""A label needs this part of the width."""
_MOST_PARTS = 150
"""More columns cannot be distinguished."""
_BANDS = 8
_MOST_DOMAINS = 30
_WH = 1_000.0


def choose_step_s(length: timedelta, age: timedelta) -> int:
    """Return the length of the parts of charts over time.

    Args:
        length: of the period.
        age: of its beginning.
    """
    seconds = length.total_seconds()
    least_s = _MINUTE_S if age <= _MINUTES_KEPT else HOUR_S
    for step_s in (_MINUTE_S, 10 * _MINUTE_S, HOUR_S, 6 * HOUR_S):
        if step_s >= least_s and seconds / step_s <= _MOST_PARTS:
            return step_s
    return max(DAY_S, int(seconds / _MOST_PARTS) // DAY_S * DAY_S)


def draw_charts(report: Report, history: History, zone: tzinfo | None) -> list[str]:
    """Return charts as SVG elements.

    Args:
        report: by domain.
        history: in the parts that charts over time have.
        zone: of the times; None: the local one.
    """
    charts = []
    with_energy = [row for row in report["rows"] if row["has_energy"]]
    if with_energy:
        verb = "that would be saved" if report["what_if"] else "saved"
        charts.append(
            bar_chart(
                f"Energy {verb}, by domain, in Wh",
                [
                    Bar(
                        row["domain"] or "",
                        _WH * row["saved_kwh"],
                        _WH * row["saved_kwh_error"],
                    )
                    for row in with_energy[:_MOST_DOMAINS]
                ],
            )
        )
    over_time = _OverTime(history, zone)
    if with_energy:
        charts += [over_time.power(), over_time.frequencies(report["what_if"])]
    if report["refusals"]:
        charts.append(over_time.refusals())
    holds = [it for it in report["holds"] if it["kwh"] > 0]
    if holds:
        title = "Energy that could be saved at most, by reason, in Wh; estimated"
        bars = [Bar(f"{it['domain']}: {it['cause']}", _WH * it["kwh"]) for it in holds]
        charts.append(bar_chart(title, bars[:_MOST_DOMAINS]))
    return charts


class _OverTime:
    """Charts whose horizontal axis is the time."""

    def __init__(self, history: History, zone: tzinfo | None) -> None:
        self._history = history
        begin = datetime.fromisoformat(history["since"])
        end = datetime.fromisoformat(history["until"])
        length_s = (end - begin).total_seconds()
        self._parts = max(1, round(length_s / history["step_s"] + 0.49))
        moments = [
            begin_of(history, part).astimezone(zone) for part in range(self._parts)
        ]
        self._labels = (
            [f"{moment:%H:%M}" for moment in moments]
            if length_s <= DAY_S
            else _label_days(moments, has_noon=length_s <= _NOON_UP_TO_S)
        )

    def power(self) -> str:
        """Draw the power of the host, and what it would be at the highest steps."""
        hosts = {it["part"]: it for it in self._history["hosts"]}

        def series(title: str, joules_of: Callable[[HistoryHost], float]) -> Series:
            return Series(
                title,
                [
                    watts(joules_of(hosts[part]), hosts[part]["duration_s"])
                    if part in hosts
                    else None
                    for part in range(self._parts)
                ],
            )

        return line_chart(
            "Mean power of the packages, in W",
            self._labels,
            [
                series("used", lambda it: it["measured_joules"]),
                series(
                    "without vmpower",
                    lambda it: it["measured_joules"] + it["saved_joules"],
                ),
                series(
                    "every request granted",
                    lambda it: (
                        it["measured_joules"]
                        - it["possible_joules"]
                        + it["saved_joules"]
                    ),
                ),
            ],
        )

    def frequencies(self, is_what_if: bool) -> str:  # noqa: FBT001 - of the document
        """Draw for how long cores ran in which band of frequencies."""
        key = "requested_khz" if is_what_if else "khz"
        steps = [
            (domain["part"], step[key], step["core_s"] / HOUR_S)  # type: ignore[literal-required]
            for domain in self._history["domains"]
            for step in domain["steps"]
            if step[key]  # type: ignore[literal-required]
        ]
        bands = _bands({khz for _, khz, _ in steps})
        values = {name: [0.0] * self._parts for name in bands.values()}
        for part, khz, core_h in steps:
            if part < self._parts:
                values[bands[khz]][part] += core_h
        series = [Series(name, found) for name, found in values.items()]
        # Few frequencies are spread over the scale.
        colors = [
            SCALE[round(at * (len(SCALE) - 1) / max(1, len(series) - 1))]
            for at in range(len(series))
        ]
        title = "Core hours by frequency"
        return column_chart(title, self._labels, series, colors=colors or SCALE)

    def refusals(self) -> str:
        """Draw the refused requests by reason."""
        reasons = sorted({it for d in self._history["domains"] for it in d["refusals"]})
        return column_chart(
            "Refused requests by reason",
            self._labels,
            [
                Series(reason, self._sums(lambda d, r=reason: d["refusals"].get(r, 0)))  # type: ignore[misc]
                for reason in reasons
            ],
        )

    def _sums(self, value: Callable[[HistoryDomain], float]) -> list[float | None]:
        sums: list[float | None] = [0.0] * self._parts
        for domain in self._history["domains"]:
            if domain["part"] < self._parts:
                sums[domain["part"]] = (sums[domain["part"]] or 0.0) + value(domain)
        return sums


def _label_days(moments: Sequence[datetime], *, has_noon: bool) -> list[str]:
    """Return the date where a day begins, the hour at noon, and nothing elsewhere.

    A short rest of the first day has no date: there is no room for two.
    """
    labels, last = [], ""
    for moment in moments:
        date = f"{moment:%m-%d}"
        is_noon = has_noon and moment.hour == _NOON and not moment.minute
        labels.append(date if date != last else f"{moment:%H:%M}" * is_noon)
        last = date
    second = next((at for at, it in enumerate(labels) if at and it), len(labels))
    if second < len(labels) / _LEAST_LABELED:
        labels[0] = ""
    return labels


def _bands(frequencies: Iterable[int]) -> dict[int, str]:
    """Return a name for each frequency: itself, or its band if there are many."""
    known = sorted(frequencies)
    if len(known) <= _BANDS:
        return {khz: _name_band([khz]) for khz in known}
    low, high = known[0], known[-1]
    width = (high - low) / _BANDS
    bands: dict[int, list[int]] = {}
    for khz in known:
        band = min(_BANDS - 1, int((khz - low) / width))
        bands.setdefault(band, []).append(khz)
    return {khz: _name_band(band) for band in bands.values() for khz in band}


def _name_band(frequencies: Sequence[int]) -> str:
    """Name a band by the frequencies that occur in it."""
    return format_range(frequencies[0], format_khz(frequencies[-1]))
