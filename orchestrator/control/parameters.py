"""Reads a call's parameters out of its path and query."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from orchestrator.errors import ControlError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from orchestrator.control.calls import Call, Parameter

MAX_DIGITS = 9
"""No number in a path has more; Python reads huge ones slowly."""
_BOOLEANS = {"true": True, "1": True, "false": False, "0": False}


def read_parameters(
    call: Call[Any], path: Mapping[str, str], query: Mapping[str, str]
) -> dict[str, str | int | bool]:
    """Check and convert what came with a call.

    Raises:
        ControlError: 400, a parameter is unknown or has a value that it cannot have.
    """
    known = {parameter.name for parameter in call.parameters if parameter.is_query}
    for name in query:
        if name not in known:
            raise ControlError(f"unknown parameter '{name}'", status=400)
    return {
        parameter.name: _convert(parameter, source[parameter.name])
        for parameter in call.parameters
        for source in [query if parameter.is_query else path]
        if parameter.name in source
    }


def _convert(parameter: Parameter, text: str) -> str | int | bool:
    if parameter.kind is bool:
        if text not in _BOOLEANS:
            raise ControlError(
                f"{parameter.name}: '{text}' is neither true nor false", status=400
            )
        return _BOOLEANS[text]
    if parameter.kind is int:
        if not (text.isascii() and text.isdigit() and len(text) <= MAX_DIGITS):
            raise ControlError(f"{parameter.name}: '{text}' is no number", status=400)
        return int(text)
    return text
