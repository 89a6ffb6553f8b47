# SPDX-License-Identifier: Apache-2.0
"""Writes what a terminal would show as an SVG picture."""

from __future__ import annotations

import io
import re
from typing import TYPE_CHECKING

from rich.console import Console

from orchestrator.errors import ConfigError

if TYPE_CHECKING:
    from pathlib import Path

    from rich.console import RenderableType

_INDENTED = re.compile(
    r'x="([\d.]+)" (y="[\d.]+") textLength="([\d.]+)"([^>]*)>((?:&#160;)+)(?=[^<])'
)
_SPACE = "&#160;"
_CELL = 12.2
"""Width of a character in the SVG that rich exports."""
_FONT_FACE = re.compile(r"@font-face \{.*?\}\s*", re.DOTALL)


def write_svg(
    path: Path, content: RenderableType, *, title: str, size: tuple[int, int]
) -> None:
    """Write a picture.

    Args:
        path: the file; it is overwritten.
        content: what the terminal shows.
        title: of the terminal's window.
        size: columns and lines of the terminal.

    Raises:
        ConfigError: the file cannot be written.
    """
    width, height = size
    console = Console(
        file=io.StringIO(),
        record=True,
        force_terminal=True,
        color_system="truecolor",
        no_color=False,
        width=width,
        height=height,
        highlight=False,
    )
    console.print(content)
    svg = console.export_svg(title=title, unique_id="vmpower")
    try:
        # rich loads fonts from a web site; a picture must not contact other hosts.
        path.write_text(_unindented(_FONT_FACE.sub("", svg)), encoding="utf-8")
    except OSError as error:
        raise ConfigError(f"cannot write {path}: {error.strerror}") from error


def _unindented(svg: str) -> str:
    """Replace leading spaces by an offset: some viewers drop the spaces."""

    def move(match: re.Match[str]) -> str:
        x, y, length, rest, spaces = match.groups()
        cells = len(spaces) // len(_SPACE) * _CELL
        x, length = f"{float(x) + cells:g}", f"{float(length) - cells:g}"
        return f'x="{x}" {y} textLength="{length}"{rest}>'

    return _INDENTED.sub(move, svg)
