"""What a domain may do, and who says so."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple, cast

from cli.output.tables.sheet import Cell, Column, Look, Sheet
from orchestrator.values.safe_text import printable
from orchestrator.values.units import format_khz

if TYPE_CHECKING:
    from collections.abc import Mapping

    from orchestrator.control.documents import Rights

_COLUMNS = (
    Column(title="Right"),
    Column(title="Value"),
    Column(title="From"),
)
_LABELS = {"min_khz": "Lowest clock", "max_khz": "Highest clock"}
_OPEN = {"generation": "as it sends"}
"""How to say that nobody decided, where `any` would be wrong."""
_SOURCE_LOOKS = {"default": Look.QUIET, "host": Look.NOTABLE}


class Right(NamedTuple):
    """One matter, what holds, and by whose word."""

    label: str
    value: str
    source: str


def list_rights(rights: Rights) -> list[Right]:
    """Write all rights of a domain for people; those of a newer daemon too."""
    said = cast("Mapping[str, Mapping[str, Any]]", rights)
    return [
        Right(
            _LABELS.get(key, key.replace("_", " ").capitalize()),
            _value(key, right["value"]),
            printable(right["source"]),
        )
        for key, right in said.items()
    ]


def build_rights(rights: Rights) -> Sheet:
    """Show the bounds and rights of a domain, each with where it comes from."""
    return Sheet(
        columns=_COLUMNS,
        rows=tuple(
            (Cell(right.label), Cell(right.value), source_cell(right.source))
            for right in list_rights(rights)
        ),
    )


def source_cell(source: str) -> Cell:
    """Name who decided, loudly if it is not for the domain to change."""
    return Cell(source, _SOURCE_LOOKS.get(source, Look.PLAIN))


def _value(key: str, value: object) -> str:
    if value is None:
        return _OPEN.get(key, "any")
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int) and key.endswith("_khz"):
        return format_khz(value)
    return printable(str(value))
