# SPDX-License-Identifier: Apache-2.0
"""The effective settings of a domain, and the source of each."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple, cast

from cli.output.tables.sheet import Cell, Column, Sheet, Style
from orchestrator.values.safe_text import printable
from orchestrator.values.units import format_khz

if TYPE_CHECKING:
    from collections.abc import Mapping

    from orchestrator.control.documents import Rights

_COLUMNS = (
    Column(title="Setting"),
    Column(title="Value"),
    Column(title="Source"),
)
_LABELS = {"min_khz": "Min frequency", "max_khz": "Max frequency"}
_UNSET = {"min_khz": "no limit", "max_khz": "no limit", "generation": "auto"}
_SOURCE_STYLES = {"default": Style.QUIET, "host": Style.NOTABLE}


class Setting(NamedTuple):
    """One setting of a domain: its effective value, and where that comes from."""

    label: str
    value: str
    source: str


def list_settings(rights: Rights) -> list[Setting]:
    """Format all settings, including those that only a newer daemon knows."""
    settings = cast("Mapping[str, Mapping[str, Any]]", rights)
    return [
        Setting(
            _LABELS.get(key, key.replace("_", " ").capitalize()),
            _value(key, setting["value"]),
            _source(setting),
        )
        for key, setting in settings.items()
    ]


def build_settings(rights: Rights) -> Sheet:
    """Show the effective settings of a domain, each with its source."""
    return Sheet(
        columns=_COLUMNS,
        rows=tuple(
            (Cell(setting.label), Cell(setting.value), source_cell(setting.source))
            for setting in list_settings(rights)
        ),
    )


def source_cell(source: str) -> Cell:
    """Show the source of a setting, highlighted if the domain cannot override it."""
    return Cell(source, _SOURCE_STYLES.get(source, Style.PLAIN))


def _source(setting: Mapping[str, Any]) -> str:
    reason = setting.get("reason")
    return printable(f"{setting['source']}; {reason}" if reason else setting["source"])


def _value(key: str, value: object) -> str:
    if value is None:
        return _UNSET.get(key, "any")
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int) and key.endswith("_khz"):
        return format_khz(value)
    return printable(str(value))
