# SPDX-License-Identifier: Apache-2.0
"""The settings of a domain as options of a command: a loop over their table.

Synchronization: none required, one command per process.
"""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cli.commands.arguments import parse_frequency
from cli.framework.failures import as_usage_error
from cli.framework.options import DeclaredOption, expand_parameter
from orchestrator.values.domain_settings import SETTINGS, Form, Setting

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

_MAKE_ENUM: Any = StrEnum
"""typer takes literal types, too, but not before 0.19; Debian 13 has 0.15."""
OPTIONS: Mapping[str, Setting] = {
    # Each --policy adds one to the policies.
    "policy" if setting.form is Form.POLICIES else setting.attribute: setting
    for setting in SETTINGS.values()
}
"""The settings by the name of their option, which messages and --unset use, too."""


def takes_settings(command: Callable[..., None]) -> Callable[..., None]:
    """Replace a command's parameter `given` by an option for each setting.

    The command is called with the values of those that were given, by field.
    """
    options = [_declare(option, setting) for option, setting in OPTIONS.items()]
    return expand_parameter("given", options, _parse_all)(command)


def _declare(option: str, setting: Setting) -> DeclaredOption:
    kind: Any = str
    flags, metavar, description = f"--{option}", None, setting.doc.replace("`", "'")
    match setting.form:
        case Form.FREQUENCY:
            metavar = "FREQ"
        case Form.YES_NO:
            kind, flags = bool, f"--{option}/--no-{option}"
        case Form.CHOICE:
            kind = _MAKE_ENUM(setting.name, {each: each for each in setting.choices})
        case Form.POLICIES:
            kind, metavar = list[str], "'KIND [OPTION=VALUE]...'"
            description += " Can be repeated."
        case Form.LATENCY:
            metavar = "US"
        case Form.PREFERENCE:
            metavar = "EPP"
    declared = typer.Option(flags, metavar=metavar, help=description)
    return DeclaredOption(setting.name, Annotated[kind | None, declared])


def _parse_all(typed: dict[str, Any]) -> dict[str, Any]:
    values = {name: _parse(SETTINGS[name], it) for name, it in typed.items()}
    return {name: value for name, value in values.items() if value is not None}


def _parse(setting: Setting, typed: Any) -> Any:  # noqa: ANN401 - as the option
    match setting.form:
        case Form.FREQUENCY:
            return parse_frequency(typed or "")
        case Form.YES_NO:
            return typed
        case Form.CHOICE:
            return setting.parse(typed) if typed else None
        case Form.LATENCY | Form.PREFERENCE:
            with as_usage_error():
                return None if typed is None else setting.parse(typed)
        case Form.POLICIES:
            return _join_policies(typed or [])


def _join_policies(texts: list[str]) -> str | None:
    from orchestrator.policy.text import format_policies, parse_policies

    with as_usage_error():
        rules = [rule for text in texts for rule in parse_policies(text)]
    return format_policies(rules) or None
