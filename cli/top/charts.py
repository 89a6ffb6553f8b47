# SPDX-License-Identifier: Apache-2.0
"""Frequencies and rates as block characters; height and color mean the same."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.text import Text

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from orchestrator.control.documents import Cpu

EIGHTHS = "▁▂▃▄▅▆▇█"
HEAT = ("blue", "cyan", "green", "yellow")
"""From the lowest frequency to the highest."""
QUIET = "bright_black"


def frequency_range(cpus: Sequence[Cpu]) -> tuple[float, float]:
    """Return the lowest and the highest frequency step of all CPUs, in kHz."""
    steps = [khz for cpu in cpus for khz in (cpu["steps_khz"][0], cpu["steps_khz"][-1])]
    return (min(steps), max(steps)) if steps else (0, 0)


def share_of(value: float, low: float, high: float) -> float:
    """Return the position of a value between two limits, from 0 to 1."""
    if high <= low:
        return 1.0
    return min(1.0, max(0.0, (value - low) / (high - low)))


def eighth(share: float) -> str:
    """Return the block character for a share; the lowest is not empty."""
    return EIGHTHS[min(len(EIGHTHS) - 1, int(share * len(EIGHTHS)))]


def heat(share: float) -> str:
    """Return the color for a share."""
    return HEAT[min(len(HEAT) - 1, int(share * len(HEAT)))]


def spark(
    values: Sequence[float | None], width: int, limits: tuple[float, float]
) -> Text:
    """Draw the latest values, the newest at the right; unknown ones are blank."""
    shares = [None if v is None else share_of(v, *limits) for v in values[-width:]]
    cells = [(" ", "")] * (width - len(shares))
    cells += [(" ", "") if s is None else (eighth(s), heat(s)) for s in shares]
    return runs(cells)


def rate_spark(values: Sequence[float | None], width: int) -> Text:
    """Draw the latest rates, relative to the highest of them."""
    last = values[-width:]
    most = max((v for v in last if v is not None), default=0.0)
    cells = [" "] * (width - len(last))
    cells += [
        " " if v is None else eighth(v / most) if most and v else "▁" for v in last
    ]
    return Text("".join(cells), "cyan")


def meter(share: float | None, width: int, style: str) -> Text:
    """Draw a share as a bar of at least one cell."""
    if share is None:
        return Text(" " * width)
    filled = max(1, round(share * width))
    bar = Text("━" * filled, style)
    return bar.append("─" * (width - filled), QUIET)


def runs(cells: Iterable[tuple[str, str]]) -> Text:
    """Join styled characters; equal neighbors become one piece, which is faster."""
    text, piece, last = Text(), "", ""
    for char, style in cells:
        if style != last and piece:
            text.append(piece, last)
            piece = ""
        piece, last = piece + char, style
    return text.append(piece, last)
