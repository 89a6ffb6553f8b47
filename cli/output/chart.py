# SPDX-License-Identifier: Apache-2.0
"""Charts as SVG: lines, stacked columns, bars and points; pure.

Each chart is an SVG element of its own, without scripts, styles or fonts from
elsewhere, so that it prints, and can be part of a page. Colors are those of Okabe and
Ito, which color-blind people distinguish; series also differ by their place in the
legend.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple
from xml.sax.saxutils import escape, quoteattr

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

COLORS = (
    *("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9"),
    *("#7f7f7f", "#332288", "#882255", "#117733", "#ddcc77", "#44aa99"),
)
SCALE = (
    *("#c6dbef", "#9ecae1", "#6baed6", "#4292c6", "#2171b5", "#08519c"),
    *("#08306b", "#041a3a"),
)
"""For series in an order, from low to high."""
WIDTH = 760
_LEFT, _RIGHT, _TOP, _BOTTOM = 64, 16, 34, 40
_TICKS = 5
_GAP = 14
_LETTER = 6.6
"""Width of a letter of 12 pixels, on average."""
_BAR = 24


class Series(NamedTuple):
    """Values for each place on the horizontal axis."""

    name: str
    values: Sequence[float | None]
    """None: unknown; lines are interrupted."""


class Bar(NamedTuple):
    """A bar of a horizontal bar chart."""

    name: str
    value: float
    error: float = 0.0
    """Drawn in both directions."""


class Point(NamedTuple):
    """A point of a scatter chart."""

    name: str
    x: float
    y: float


class _Frame(NamedTuple):
    """The area of a chart, and the values at its edges."""

    height: float
    low: float
    high: float
    places: int
    """Places on the horizontal axis."""

    @property
    def bottom(self) -> float:
        return self.height - _BOTTOM

    @property
    def width(self) -> float:
        return WIDTH - _LEFT - _RIGHT

    def y(self, value: float) -> float:
        share = (value - self.low) / (self.high - self.low)
        return self.bottom - share * (self.bottom - _TOP)

    def x(self, place: float) -> float:
        """Return the middle of a place."""
        return _LEFT + (place + 0.5) * self.width / max(1, self.places)


def nice_ticks(low: float, high: float, count: int = _TICKS) -> list[float]:
    """Return round numbers that include a range: multiples of 1, 2 or 5.

    Args:
        low: of the range.
        high: of the range.
        count: about how many.
    """
    high = high if high > low else low + (abs(low) or 1.0)
    span = high - low
    rough = span / count
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(it * power for it in (1, 2, 5, 10) if it * power >= rough * 0.999)
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return [number * step for number in range(first, last + 1)]


def line_chart(
    title: str, labels: Sequence[str], series: Sequence[Series], *, height: int = 240
) -> str:
    """Draw a line for each series.

    Args:
        title: with the unit.
        labels: of the places on the horizontal axis.
        series: at most as many as there are colors.
        height: in pixels.
    """
    known = [it for one in series for it in one.values if it is not None]
    ticks = nice_ticks(min([0.0, *known]), max([0.0, *known]))
    frame = _Frame(height, ticks[0], ticks[-1], len(labels))
    parts = [*_axes(frame, title, labels, ticks)]
    for number, one in enumerate(series):
        parts += [
            f'<polyline fill="none" stroke="{_color(number)}" stroke-width="2" '
            f'points="{points}"/>'
            for points in _runs(frame, one.values)
        ]
    names = [one.name for one in series]
    parts += _legend(names, height)
    return _svg(parts, title, _with_legend(height, names))


def _runs(frame: _Frame, values: Sequence[float | None]) -> Iterator[str]:
    """Yield the points of each uninterrupted part of a line."""
    run: list[str] = []
    for place, value in enumerate([*values, None]):
        if value is not None:
            run.append(f"{frame.x(place):.1f},{frame.y(value):.1f}")
            continue
        if len(run) == 1:  # a line needs two points
            run.append(run[0].partition(",")[0] + ".5," + run[0].partition(",")[2])
        if run:
            yield " ".join(run)
        run = []


def column_chart(
    title: str,
    labels: Sequence[str],
    series: Sequence[Series],
    *,
    colors: Sequence[str] = COLORS,
    height: int = 240,
) -> str:
    """Draw stacked columns, one for each label; other arguments as for `line_chart`.

    Args:
        title: with the unit.
        labels: of the columns.
        series: the parts of each column, from below.
        colors: of the series; SCALE if they are in an order.
        height: in pixels.
    """
    sums = [
        sum(max(0.0, one.values[place] or 0.0) for one in series)
        for place in range(len(labels))
    ]
    ticks = nice_ticks(0.0, max([*sums, 0.0]))
    frame = _Frame(height, 0.0, ticks[-1] or 1.0, len(labels))
    parts = [*_axes(frame, title, labels, ticks)]
    wide = frame.width / max(1, len(labels)) * 0.8
    for place in range(len(labels)):
        base = 0.0
        for number, one in enumerate(series):
            value = max(0.0, one.values[place] or 0.0)
            if not value:
                continue
            top, bottom = frame.y(base + value), frame.y(base)
            parts.append(
                f'<rect x="{frame.x(place) - wide / 2:.1f}" y="{top:.1f}" '
                f'width="{wide:.1f}" height="{bottom - top:.1f}" '
                f'fill="{colors[number % len(colors)]}"/>'
            )
            base += value
    names = [one.name for one in series]
    parts += _legend(names, height, colors)
    return _svg(parts, title, _with_legend(height, names))


def bar_chart(title: str, bars: Sequence[Bar]) -> str:
    """Draw horizontal bars with their names, values and errors."""
    left = min(300.0, 16 + _LETTER * max((len(bar.name) for bar in bars), default=0))
    most = max([bar.value + bar.error for bar in bars] + [0.0])
    least = min([bar.value - bar.error for bar in bars] + [0.0])
    texts = [_value(bar) for bar in bars]
    room = 14 + _LETTER * max(map(len, texts), default=0)
    scale = (WIDTH - left - room) / ((most - least) or 1.0)
    zero = left - least * scale
    parts = [_text(8, 18, title, weight="bold", anchor="start")]
    for number, bar in enumerate(bars):
        y = _TOP + number * _BAR
        begin, length = min(0.0, bar.value) * scale, abs(bar.value) * scale
        parts.append(_text(left - 6, y + 13, bar.name, anchor="end"))
        parts.append(
            f'<rect x="{zero + begin:.1f}" y="{y:.1f}" width="{length:.1f}" '
            f'height="{_BAR - 8}" fill="{COLORS[0]}"/>'
        )
        end = zero + max(0.0, bar.value + bar.error) * scale
        if bar.error:
            start = zero + (bar.value - bar.error) * scale
            parts.append(
                f'<path d="M{start:.1f} {y + 8:.1f}H{end:.1f}" stroke="#333" '
                'stroke-width="1.5"/>'
            )
        parts.append(_text(end + 6, y + 13, texts[number], anchor="start"))
    return _svg(parts, title, _TOP + len(bars) * _BAR + 8)


def _value(bar: Bar) -> str:
    error = f" ±{_number(bar.error)}" if bar.error else ""
    return f"{_number(bar.value)}{error}"


def scatter_chart(  # noqa: PLR0913 - what a chart needs
    title: str,
    x_title: str,
    points: Sequence[Point],
    *,
    x_range: tuple[float, float],
    y_range: tuple[float, float],
    target: tuple[float, float] | None = None,
    height: int = 300,
) -> str:
    """Draw named points; those beyond the ranges at their edge.

    Args:
        title: of the chart and the vertical axis.
        x_title: of the horizontal axis.
        points: what to draw.
        x_range: edges of the horizontal axis.
        y_range: edges of the vertical one.
        target: shade what is right of this x and below this y.
        height: in pixels.
    """
    frame = _Frame(height, *y_range, 1)

    def x_of(value: float) -> float:
        low, high = x_range
        return _LEFT + (value - low) / (high - low) * frame.width

    parts = [*_axes(frame, title, [], nice_ticks(*y_range))]
    if target is not None:
        x, y = x_of(target[0]), frame.y(target[1])
        parts.append(
            f'<rect x="{x:.1f}" y="{y:.1f}" width="{WIDTH - _RIGHT - x:.1f}" '
            f'height="{frame.bottom - y:.1f}" fill="{COLORS[2]}" opacity="0.15"/>'
        )
    parts += [
        _text(x_of(tick), frame.bottom + 16, _number(tick))
        for tick in nice_ticks(*x_range)
    ]
    parts.append(_text(WIDTH / 2, height - 6, x_title))
    for number, point in enumerate(points):
        x = x_of(min(max(point.x, x_range[0]), x_range[1]))
        y = frame.y(min(max(point.y, y_range[0]), y_range[1]))
        parts.append(
            f'<circle cx="{x:.1f}" cy="{y:.1f}" r="6" fill="{_color(number)}" '
            'fill-opacity="0.8"/>'
        )
    names = [point.name for point in points]
    parts += _legend(names, height + 4)
    return _svg(parts, title, _with_legend(height + 4, names))


def stack(charts: Sequence[str], title: str) -> str:
    """Put charts below each other into one SVG document."""
    body, y = [], 0
    for chart in charts:
        height = int(chart.partition('height="')[2].partition('"')[0])
        body.append(chart.replace("<svg ", f'<svg y="{y}" ', 1))
        y += height + _GAP
    return _svg(body, title, y)


def _axes(
    frame: _Frame, title: str, labels: Sequence[str], ticks: Sequence[float]
) -> Iterator[str]:
    yield _text(8, 18, title, weight="bold", anchor="start")
    for tick in ticks:
        y = frame.y(tick)
        yield (
            f'<path d="M{_LEFT} {y:.1f}H{WIDTH - _RIGHT}" stroke="#ddd" '
            'stroke-width="1"/>'
        )
        yield _text(_LEFT - 6, y + 4, _number(tick), anchor="end")
    longest = max((len(label) for label in labels), default=0)
    room = frame.width / max(1, len(labels))
    each = max(1, math.ceil((longest * _LETTER + 8) / room))
    free_from = 0
    for place, label in enumerate(labels):
        if label and place >= free_from:
            free_from = place + each
            yield _text(frame.x(place), frame.bottom + 16, label)


def _with_legend(height: int, names: Sequence[str]) -> int:
    return height + 18 * (_legend_rows(names)[-1][0] + 1)


def _legend_rows(names: Sequence[str]) -> list[tuple[int, float]]:
    """Return the row and the x of each name."""
    places: list[tuple[int, float]] = []
    row, x = 0, float(_LEFT)
    for name in names:
        wide = 34 + _LETTER * len(name)
        if x + wide > WIDTH and x > _LEFT:
            row, x = row + 1, float(_LEFT)
        places.append((row, x))
        x += wide
    return places or [(0, float(_LEFT))]


def _legend(
    names: Sequence[str], height: int, colors: Sequence[str] = COLORS
) -> Iterator[str]:
    for number, (name, (row, x)) in enumerate(
        zip(names, _legend_rows(names), strict=False)
    ):
        y = height + 18 * row - 4
        yield (
            f'<rect x="{x:.1f}" y="{y:.1f}" width="12" height="12" '
            f'fill="{colors[number % len(colors)]}"/>'
        )
        yield _text(x + 17, y + 10, name, anchor="start")


def _color(number: int) -> str:
    return COLORS[number % len(COLORS)]


def _number(value: float) -> str:
    if value and abs(value) < 0.01:
        return f"{value:.1g}"
    return f"{value:,.2f}".rstrip("0").rstrip(".")


def _text(
    x: float, y: float, text: str, *, anchor: str = "middle", weight: str = "normal"
) -> str:
    return (
        f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" '
        f'font-weight="{weight}">{escape(text)}</text>'
    )


def _svg(parts: Sequence[str], title: str, height: float) -> str:
    body = "\n".join(parts)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" '
        f'height="{math.ceil(height)}" font-family="sans-serif" font-size="12" '
        f'fill="#222" role="img" aria-label={quoteattr(title)}>\n'
        f'<rect width="100%" height="100%" fill="#fff"/>\n{body}\n</svg>\n'
    )
