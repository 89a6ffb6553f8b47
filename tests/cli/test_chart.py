# SPDX-License-Identifier: Apache-2.0
"""Charts: valid XML, round numbers, and marks where the values are."""

from __future__ import annotations

from typing import TYPE_CHECKING
from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cli.output.chart import (
    WIDTH,
    Bar,
    Point,
    Series,
    bar_chart,
    column_chart,
    line_chart,
    nice_ticks,
    scatter_chart,
    stack,
)

if TYPE_CHECKING:
    from collections.abc import Callable

SVG = "{http://www.w3.org/2000/svg}"
values = st.integers(-(10**8), 10**8).map(lambda cents: cents / 100)


@given(low=values, high=values)
def test_ticks_are_round_and_include_the_range(low: float, high: float) -> None:
    low, high = sorted((low, high))
    ticks = nice_ticks(low, high)
    span = ticks[-1] - ticks[0]
    assert ticks[0] <= low + 1e-6 * abs(span)
    assert ticks[-1] >= high - 1e-6 * abs(span)
    assert len(ticks) < 10


@pytest.mark.parametrize("draw", [line_chart, column_chart])
@given(rows=st.lists(st.lists(st.none() | values, min_size=3, max_size=3), max_size=3))
def test_any_values_are_drawn_within_the_picture(
    draw: Callable[[str, list[str], list[Series]], str],
    rows: list[list[float | None]],
) -> None:
    names = ["a", "<b> & 'c'", 'quotes " too']
    series = [Series(name, row) for name, row in zip(names, rows, strict=False)]
    root = ElementTree.fromstring(draw("title & <unit>", ["1", "2", "3"], series))
    height = float(root.get("height", "0"))
    for rect in root.iter(f"{SVG}rect"):
        if rect.get("x"):
            assert 0 <= float(rect.get("x", "")) <= WIDTH
            assert 0 <= float(rect.get("y", "")) <= height
    for text, name in zip(series, names, strict=False):
        assert text.name == name
        assert any(it.text == name for it in root.iter(f"{SVG}text"))


def test_an_unknown_value_interrupts_a_line() -> None:
    whole = line_chart("t", list("abcd"), [Series("s", [1.0, 2.0, 3.0, 4.0])])
    broken = line_chart("t", list("abcd"), [Series("s", [1.0, None, 3.0, 4.0])])
    assert (whole.count("<polyline"), broken.count("<polyline")) == (1, 2)


def test_bars_are_as_long_as_their_values() -> None:
    root = ElementTree.fromstring(bar_chart("t", [Bar("a", 10.0, 1.0), Bar("b", 5.0)]))
    wide = [float(it.get("width", "")) for it in root.iter(f"{SVG}rect") if it.get("x")]
    assert wide[0] == pytest.approx(2 * wide[1], rel=0.01)
    texts = [it.text for it in root.iter(f"{SVG}text")]
    assert {"10 ±1", "5"} <= set(texts)


def test_points_beyond_the_range_are_at_its_edge() -> None:
    chart = scatter_chart(
        "t",
        "x",
        [Point("in", 1, 1), Point("out", 99, 99)],
        x_range=(0, 2),
        y_range=(0, 2),
        target=(1, 1),
    )
    root = ElementTree.fromstring(chart)
    spots = [float(it.get("cx", "")) for it in root.iter(f"{SVG}circle")]
    assert spots[0] < spots[1] <= WIDTH


def test_a_stack_has_room_for_all_its_charts() -> None:
    chart = bar_chart("t", [Bar("a", 1.0)])
    height = float(ElementTree.fromstring(chart).get("height", "0"))
    both = ElementTree.fromstring(stack([chart, chart], "two"))
    assert float(both.get("height", "0")) >= 2 * height
    assert [it.get("y") for it in both if it.tag == f"{SVG}svg"] == [
        "0",
        str(int(height) + 14),
    ]
