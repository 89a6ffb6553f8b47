# SPDX-License-Identifier: Apache-2.0
"""Options of a command that are declared elsewhere than in its signature.

A command with twenty options is then still a short function.
"""

import functools
import inspect
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any, get_type_hints

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

Command = Callable[..., None]


@dataclass(frozen=True, slots=True)
class DeclaredOption:
    """One option, as typer wants a parameter."""

    name: str
    annotation: Any
    default: Any = None


def takes_options(declared: "type[DataclassInstance]") -> Callable[[Command], Command]:
    """Replace a command's parameter `options` by the fields of a dataclass.

    Args:
        declared: a dataclass; each field is annotated as typer wants it and has a
            default. The command is called with an instance.
    """
    hints = get_type_hints(declared, include_extras=True)
    options = [
        DeclaredOption(field.name, hints[field.name], field.default)
        for field in fields(declared)
    ]
    return expand_parameter("options", options, lambda values: declared(**values))


def expand_parameter(
    name: str, options: Sequence[DeclaredOption], build: Callable[[dict[str, Any]], Any]
) -> Callable[[Command], Command]:
    """Replace a parameter of a command by options.

    Args:
        name: the parameter.
        options: what takes its place.
        build: makes its value from those of the options, by name.
    """
    expanded = [
        inspect.Parameter(
            option.name,
            inspect.Parameter.KEYWORD_ONLY,
            default=option.default,
            annotation=option.annotation,
        )
        for option in options
    ]

    def decorate(command: Command) -> Command:
        signature = inspect.signature(command)
        parameters: list[inspect.Parameter] = []
        for parameter in signature.parameters.values():
            parameters += expanded if parameter.name == name else [parameter]

        @functools.wraps(command)
        def run(**values: Any) -> None:  # noqa: ANN401 - whatever the options are
            given = build({option.name: values.pop(option.name) for option in options})
            command(**values, **{name: given})

        run.__signature__ = signature.replace(  # type: ignore[attr-defined]
            parameters=parameters
        )
        run.__annotations__ = {it.name: it.annotation for it in parameters}
        return run

    return decorate
