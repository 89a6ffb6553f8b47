# SPDX-License-Identifier: Apache-2.0
"""The sections about the configuration's keys, from inner_kind dataclasses."""

from __future__ import annotations

import dataclasses
import enum
import types
import typing
from pathlib import Path
from typing import Any

from orchestrator.config import Config
from orchestrator.config_files import key_of
from orchestrator.policy.rule import PolicyRule
from orchestrator.values.energy_preference import EnergyPreference
from orchestrator.values.units import KHz, Microseconds
from scripts.manual import roff
from scripts.manual.docstrings import members_of
from scripts.manual.policies import policy_keys

_TYPES: dict[Any, str] = {
    KHz: 'frequency: integer kHz, or text such as "2.3GHz"',
    Microseconds: "integer number of microseconds",
    EnergyPreference: "text or integer",
    bool: "true or false",
    int: "integer",
    float: "number",
    str: "text",
    Path: "path",
}


def configuration_sections() -> list[str]:
    """Format all keys by table: type, default and description."""
    lines = roff.heading("OPTIONS")
    lines += roff.text("These keys are at the top of the file, before any table.")
    tables: list[str] = []
    for field, kind in fields_of(Config):
        table = table_of(kind)
        if table is None:
            lines += _key(Config, field, kind)
        else:
            is_list = typing.get_origin(kind) is tuple
            header = (
                f"[[{key_of(field.name)}]]" if is_list else f"[{key_of(field.name)}]"
            )
            tables += _table(header, table, members_of(Config).get(field.name, ""))
    return lines + tables


def _table(header: str, table: type[Any], details: str) -> list[str]:
    text = (table.__doc__ or "").strip()
    lines = roff.subheading(header)
    lines += roff.text(_dedent(text))
    if details:
        lines += roff.text(details)
    if table is PolicyRule:
        return lines + policy_keys()
    nested: list[str] = []
    for field, kind in fields_of(table):
        inner = table_of(kind)
        lines += _key(table, field, kind)
        if inner is not None:
            nested += roff.text(f"`{key_of(field.name)}` has:")
            for each, inner_kind in fields_of(inner):
                nested += roff.indented(_key(inner, each, inner_kind))
    return lines + nested


def fields_of(cls: type[Any]) -> list[tuple[dataclasses.Field[Any], Any]]:
    """Return the fields of a table, with their types."""
    hints = typing.get_type_hints(cls)
    return [(field, hints[field.name]) for field in dataclasses.fields(cls)]


def table_of(kind: Any) -> type[Any] | None:  # noqa: ANN401 - a type hint
    """Return the dataclass of a table, or of the tables of a list."""
    if typing.get_origin(kind) is tuple:
        kind = typing.get_args(kind)[0]
    return kind if isinstance(kind, type) and dataclasses.is_dataclass(kind) else None


def _key(cls: type[Any], field: dataclasses.Field[Any], kind: Any) -> list[str]:  # noqa: ANN401
    text = members_of(cls).get(field.name, "")
    unit = "seconds" if field.name.endswith("_s") else _type_text(kind)
    about = roff.marked(f"{unit}; {_default_text(field)}")
    term = f"{roff.bold(key_of(field.name))} ({about})"
    lines = roff.item(term, text)
    if members := _enum_of(kind):
        docs = members_of(members)
        inner: list[str] = []
        for member in members:
            inner += roff.item(
                roff.bold(f'"{member.value}"'), docs.get(member.name, "")
            )
        lines += roff.indented(inner)
    return lines


def _plain(kind: Any) -> tuple[Any, bool]:  # noqa: ANN401
    """Return a type without `| None`, and whether it is a list."""
    if typing.get_origin(kind) in (typing.Union, types.UnionType):
        kind = typing.get_args(kind)[0]
    if typing.get_origin(kind) is tuple:
        return typing.get_args(kind)[0], True
    return kind, False


def _enum_of(kind: Any) -> type[enum.Enum] | None:  # noqa: ANN401
    plain, _ = _plain(kind)
    is_enum = isinstance(plain, type) and issubclass(plain, enum.Enum)
    return plain if is_enum else None


def _type_text(kind: Any) -> str:  # noqa: ANN401
    plain, is_list = _plain(kind)
    if _enum_of(kind):
        text = "one of the values below"
    elif isinstance(plain, type) and dataclasses.is_dataclass(plain):
        text = "table"
    else:
        text = _TYPES.get(plain, getattr(plain, "__name__", str(plain)))
    return f"list of {text}" if is_list else text


def _default_text(field: dataclasses.Field[Any]) -> str:
    if field.default is dataclasses.MISSING:
        is_required = field.default_factory is dataclasses.MISSING
        return "required" if is_required else "default: not set"
    value = field.default
    if isinstance(value, enum.Enum):
        value = value.value
    if value is None or value in ((), ""):
        return "default: not set"
    if isinstance(value, bool):
        return f"default: {str(value).lower()}"
    is_text = isinstance(value, str | Path)
    return f'default: "{value}"' if is_text else f"default: {value}"


def _dedent(text: str) -> str:
    return "\n".join(line.strip() for line in text.splitlines())
