# SPDX-License-Identifier: Apache-2.0
"""Parameters of calls: in the path or in the query, checked and converted."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from orchestrator.errors import ControlError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

MAX_DIGITS: Final = 18
"""Longest number in a path or query; converting a huge one takes Python long."""
_BOOLEANS = {"true": True, "1": True, "false": False, "0": False}


@dataclass(frozen=True, slots=True, kw_only=True)
class Parameter:
    """One value in the path or in the query of a call."""

    name: str
    doc: str
    kind: type[str | int | bool] = str
    default: str | int | bool | None = None
    """Value if it is left out of the query; None: it is part of the path."""

    @property
    def is_query(self) -> bool:
        """Whether it is in the query, and so optional."""
        return self.default is not None


def read_parameters(
    parameters: Iterable[Parameter], path: Mapping[str, str], query: Mapping[str, str]
) -> dict[str, str | int | bool]:
    """Check and convert the parameters of a call.

    Args:
        parameters: those that the call has.
        path: values from the path.
        query: values from the query.

    Raises:
        ControlError: 400, a parameter is unknown or its value is invalid.
    """
    found: dict[str, str | int | bool] = {}
    unknown = dict(query)
    for parameter in parameters:
        text = path.get(parameter.name)
        if parameter.default is not None:
            text = unknown.pop(parameter.name, None)
        if text is not None:
            found[parameter.name] = _convert(parameter, text)
        elif parameter.default is not None:
            found[parameter.name] = parameter.default
    for name in unknown:
        raise ControlError(f"unknown parameter '{name}'", status=400)
    return found


def _convert(parameter: Parameter, text: str) -> str | int | bool:
    if parameter.kind is bool:
        if text not in _BOOLEANS:
            raise _invalid(parameter, text, "true or false")
        return _BOOLEANS[text]
    if parameter.kind is int:
        if not (text.isascii() and text.isdigit() and len(text) <= MAX_DIGITS):
            raise _invalid(parameter, text, f"a number of at most {MAX_DIGITS} digits")
        return int(text)
    return text


def _invalid(parameter: Parameter, text: str, expected: str) -> ControlError:
    return ControlError(
        f"invalid {parameter.name} '{text}': expected {expected}", status=400
    )
