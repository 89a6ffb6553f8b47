"""Options of a command that are declared as the fields of a dataclass.

A command with twenty options is then still a short function.
"""

import functools
import inspect
from collections.abc import Callable
from dataclasses import fields
from typing import TYPE_CHECKING, Any, get_type_hints

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

_PARAMETER = "options"


def takes_options(
    declared: "type[DataclassInstance]",
) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Replace a command's parameter `options` by the fields of a dataclass.

    Args:
        declared: a dataclass; each field is annotated as typer wants it and has a
            default. The command is called with an instance.
    """
    hints = get_type_hints(declared, include_extras=True)
    options = [
        inspect.Parameter(
            field.name,
            inspect.Parameter.KEYWORD_ONLY,
            default=field.default,
            annotation=hints[field.name],
        )
        for field in fields(declared)
    ]

    def decorate(command: Callable[..., None]) -> Callable[..., None]:
        signature = inspect.signature(command)
        arguments = [p for p in signature.parameters.values() if p.name != _PARAMETER]
        parameters = [*arguments, *options]

        @functools.wraps(command)
        def run(**values: Any) -> None:  # noqa: ANN401 - whatever the options are
            chosen = declared(**{it.name: values.pop(it.name) for it in options})
            command(**values, options=chosen)

        run.__signature__ = signature.replace(  # type: ignore[attr-defined]
            parameters=parameters
        )
        run.__annotations__ = {it.name: it.annotation for it in parameters}
        return run

    return decorate
