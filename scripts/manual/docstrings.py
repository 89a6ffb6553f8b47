# SPDX-License-Identifier: Apache-2.0
"""Documentation of fields and enum members: docstrings in the source, or declared."""

from __future__ import annotations

import ast
import dataclasses
import functools
import inspect
from pathlib import Path
from typing import Any


def members_of(cls: type[Any]) -> dict[str, str]:
    """Return the docstrings of a class's fields or members, also of inherited ones."""
    found: dict[str, str] = {}
    for base in reversed(cls.__mro__):
        if base.__module__.startswith("orchestrator") or base.__module__[:3] == "cli":
            found |= _of_class(inspect.getsourcefile(base) or "", base.__name__)
    return found | _declared(cls)


def _declared(cls: type[Any]) -> dict[str, str]:
    """Return the documentation that fields are declared with."""
    fields = dataclasses.fields(cls) if dataclasses.is_dataclass(cls) else ()
    return {
        field.name: declaration["doc"]
        for field in fields
        for declaration in field.metadata.values()
    }


@functools.cache
def _of_class(file: str, name: str) -> dict[str, str]:
    tree = ast.parse(Path(file).read_text(encoding="utf-8"))
    classes = (node for node in ast.walk(tree) if isinstance(node, ast.ClassDef))
    body = next((node.body for node in classes if node.name == name), [])
    found: dict[str, str] = {}
    for statement, following in zip(body, [*body[1:], None], strict=True):
        target = _target(statement)
        match following:
            case ast.Expr(value=ast.Constant(value=str(text))) if target:
                found[target] = inspect.cleandoc(text)
            case _:
                pass
    return found


def _target(statement: ast.stmt) -> str:
    match statement:
        case ast.AnnAssign(target=ast.Name(id=name)):
            return name
        case ast.Assign(targets=[ast.Name(id=name)]):
            return name
        case _:
            return ""
