# SPDX-License-Identifier: Apache-2.0
"""The effective settings of a domain, and the source of each."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple, cast

from cli.output.tables.sheet import Cell, Column, Sheet, Style
from orchestrator.values.safe_text import printable
from orchestrator.values.units import format_khz

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from orchestrator.control.documents import Rights, Vcpu

_COLUMNS = (
    Column(title="Setting"),
    Column(title="Value"),
    Column(title="Source"),
)
_LABELS = {
    "min_khz": "Min frequency",
    "max_khz": "Max frequency",
    "idle_latency_us": "Idle latency",
    "epp": "EPP",
    "rapl": "RAPL",
    "emulator": "Emulator CPUs",
}
_LIMITS = frozenset({"min_khz", "max_khz"})
_UNSET = {
    "min_khz": "no limit",
    "max_khz": "no limit",
    "generation": "auto",
    "idle_latency_us": "no limit",
    "epp": "the kernel's",
}
_SOURCE_STYLES = {
    "default": Style.QUIET,
    "host": Style.NOTABLE,
    "kernel": Style.NOTABLE,
}


class Setting(NamedTuple):
    """One setting of a domain: its effective value, and where that comes from."""

    label: str
    value: str
    source: str


def list_settings(rights: Rights, vcpus: Iterable[Vcpu]) -> list[Setting]:
    """Format all settings, including those that only a newer daemon knows.

    Args:
        rights: of a domain.
        vcpus: its vCPUs, whose effective limits may come from elsewhere.
    """
    vcpus = list(vcpus)
    settings = cast("Mapping[str, Mapping[str, Any]]", rights)
    return [
        Setting(
            _LABELS.get(key, key.replace("_", " ").capitalize()),
            *(_effective(key, setting, vcpus) or _own(key, setting)),
        )
        for key, setting in settings.items()
    ]


def _own(key: str, setting: Mapping[str, Any]) -> tuple[str, str]:
    return _value(key, setting["value"]), _source(setting)


def _effective(
    key: str, setting: Mapping[str, Any], vcpus: Iterable[Vcpu]
) -> tuple[str, str] | None:
    """Return the limit of all vCPUs and its source, if that is another one.

    None also if the vCPUs have different limits: the table of vCPUs shows them.
    """
    if key not in _LIMITS:
        return None
    limits = cast("Iterable[Mapping[str, Any]]", vcpus)
    source_key = key.replace("_khz", "_source")
    found = {(v[key], v.get(source_key)) for v in limits if v[key] is not None}
    if len(found) != 1:
        return None
    khz, source = found.pop()
    if source in (None, "hardware", setting["source"]):
        return None
    own = _value(key, setting["value"])
    domain = "" if setting["value"] is None else f" (domain: {own})"
    return format_khz(khz), printable(f"{source}{domain}")


def build_settings(rights: Rights, vcpus: Iterable[Vcpu]) -> Sheet:
    """Show the effective settings of a domain, each with its source."""
    return Sheet(
        columns=_COLUMNS,
        rows=tuple(
            (Cell(setting.label), Cell(setting.value), source_cell(setting.source))
            for setting in list_settings(rights, vcpus)
        ),
    )


def source_cell(source: str) -> Cell:
    """Show the source of a setting, highlighted if the domain cannot override it."""
    name = source.removeprefix("turbo off (").partition(" (")[0].partition(")")[0]
    return Cell(source, _SOURCE_STYLES.get(name, Style.PLAIN))


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
    if isinstance(value, int) and key.endswith("_us"):
        return f"{value} us"
    return printable(str(value))
