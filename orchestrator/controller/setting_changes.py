# SPDX-License-Identifier: Apache-2.0
"""Reports what changed in the configuration and in the settings of domains."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

from orchestrator.controller.actions import Report
from orchestrator.rights import resolve_rights
from orchestrator.values.domain_settings import SETTINGS, Form
from orchestrator.values.units import format_khz

if TYPE_CHECKING:
    from collections.abc import Iterator

    from orchestrator.config import Config
    from orchestrator.controller.actions import Action
    from orchestrator.values.domain import DomainSpec
    from orchestrator.values.domain_settings import Setting

_RULES = ("domain", "policy", "onboard")


def report_config(old: Config, new: Config) -> Report:
    """Report a reloaded configuration and what it changed."""
    changes = [*_find_changes(old, new), *_find_changed_rules(old, new)]
    text = f"configuration reloaded: {', '.join(changes) or 'no change'}"
    return Report("configuration", text)


def _find_changes(old: Any, new: Any, prefix: str = "") -> Iterator[str]:  # noqa: ANN401 - a configuration or a section of one
    for field in dataclasses.fields(old):
        before, now = getattr(old, field.name), getattr(new, field.name)
        name = f"{prefix}{field.name}"
        if dataclasses.is_dataclass(before):
            yield from _find_changes(before, now, f"{name}.")
        elif before != now and name not in _RULES:
            values = (_format_option(name, value) for value in (now, before))
            yield "{} is {} (was {})".format(name, *values)


def _format_option(name: str, value: object) -> str:
    if value is None:
        return "unset"
    if isinstance(value, bool):
        return str(value).lower()
    return format_khz(value) if isinstance(value, int) and "khz" in name else str(value)


def _find_changed_rules(old: Config, new: Config) -> Iterator[str]:
    for name in _RULES:
        if getattr(old, name) != getattr(new, name):
            yield f"the rules [[{name}]] changed"


def report_rights(
    old: tuple[Config, DomainSpec], new: tuple[Config, DomainSpec]
) -> list[Action]:
    """Report the effective settings of a domain that changed, and their sources.

    Args:
        old: the configuration and the description before.
        new: those now.
    """
    before, now = resolve_rights(*old), resolve_rights(*new)
    return [
        Report(
            "right",
            f"{setting.attribute} is {_format(setting, now[name].value)}"
            f" (was {_format(setting, before[name].value)}), set by {now[name].source}",
            domain=new[1].name,
            facts={"setting": setting.attribute, "source": now[name].source},
        )
        for name, setting in SETTINGS.items()
        if now[name].value != before[name].value
    ]


def _format(setting: Setting, value: Any) -> str:  # noqa: ANN401 - of the setting
    if value is None:
        return "unset"
    if setting.form is Form.FREQUENCY:
        return format_khz(value)
    if setting.form is Form.LATENCY:
        return f"{value} us"
    return setting.format(value)
