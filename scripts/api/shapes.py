# SPDX-License-Identifier: Apache-2.0
"""The documents of the API as JSON sees them: keys, types and descriptions."""

from __future__ import annotations

import inspect
from dataclasses import dataclass
from datetime import datetime
from enum import Enum
from types import NoneType, UnionType
from typing import TYPE_CHECKING, Annotated, Any, NewType, Union, get_args, get_origin

from pydantic import AwareDatetime

from orchestrator.control.calls import CALLS
from orchestrator.control.models import (
    Document,
    channels,
    cpus,
    daemon,
    domains,
    energy,
    events,
    failures,
    history,
    instructions,
    policies,
    rights,
    status,
)

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import ModuleType

    from pydantic.fields import FieldInfo

NOUNS = (
    status,
    daemon,
    domains,
    channels,
    rights,
    policies,
    cpus,
    history,
    energy,
    instructions,
    events,
    failures,
)
"""The modules of models, in the order in which a person reads about them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Key:
    """One key of a document."""

    name: str
    type: Any
    """Its annotation, without constraints."""
    doc: str
    is_optional: bool
    """Whether a request may leave it out."""
    default: object
    """What is assumed then."""

    @property
    def members(self) -> list[Enum]:
        """The values that it may have, if it is an enumeration."""
        kinds = (self.type, *get_args(self.type))
        return [
            member
            for kind in kinds
            if isinstance(kind, type) and issubclass(kind, Enum)
            for member in kind
        ]


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """One document."""

    name: str
    doc: str
    base: str | None
    """Name of the document whose keys it has, too."""
    keys: tuple[Key, ...]
    """Its keys, without those of its base."""


def shapes_of(noun: ModuleType) -> Iterator[Shape]:
    """Read the documents of a module, in the order of their definition."""
    bodies = {call.body for call in CALLS}
    for model in vars(noun).values():
        if _is_model(model) and model.__module__ == noun.__name__:
            yield _shape(model, is_body=model in bodies)


def keys_of(model: type[Document]) -> tuple[Key, ...]:
    """Read the keys of a request's body."""
    return _shape(model, is_body=True).keys


def parts_of(annotation: Any) -> tuple[str, tuple[Any, ...]]:  # noqa: ANN401 - annotations are of any type
    """Take an annotation apart: what it is, and the annotations inside.

    Returns:
        `string`, `integer`, `number`, `boolean` or `null` and nothing; the name of a
        document and nothing; `array` or `object` and the annotation of its values;
        `union` and the alternatives.

    Raises:
        TypeError: JSON has nothing for it.
    """
    origin, inside = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        return parts_of(inside[0])
    if isinstance(annotation, NewType):
        return parts_of(annotation.__supertype__)
    if origin in (Union, UnionType):
        return "union", inside
    if origin is tuple and inside[1:] == (...,):
        return "array", inside[:1]
    if origin is dict and inside[0] is str:
        return "object", inside[1:]
    if origin is None and isinstance(annotation, type):
        return _name(annotation), ()
    raise TypeError(f"JSON has nothing for {annotation}")


_NAMES: dict[type, str] = {
    str: "string",
    int: "integer",
    float: "number",
    bool: "boolean",
    NoneType: "null",
    datetime: "string",
    AwareDatetime: "string",
}


def _name(kind: type) -> str:
    if kind in _NAMES:
        return _NAMES[kind]
    if issubclass(kind, Enum) and issubclass(kind, str):
        return "string"
    if issubclass(kind, Document):
        return kind.__name__
    raise TypeError(f"JSON has nothing for {kind}")


def _is_model(found: object) -> bool:
    return (
        isinstance(found, type)
        and issubclass(found, Document)
        and found is not Document
    )


def _shape(model: type[Document], *, is_body: bool) -> Shape:
    (base,) = model.__bases__
    inherited: dict[str, FieldInfo] = getattr(base, "model_fields", {})
    return Shape(
        name=model.__name__,
        doc=inspect.getdoc(model) or "",
        base=None if base is Document else base.__name__,
        keys=tuple(
            _key(name, field, is_body=is_body)
            for name, field in model.model_fields.items()
            if name not in inherited
        ),
    )


def _key(name: str, field: FieldInfo, *, is_body: bool) -> Key:
    is_optional = is_body and not field.is_required()
    return Key(
        name=field.alias or name,
        type=field.annotation,
        doc=field.description or "",
        is_optional=is_optional,
        default=field.default if is_optional else None,
    )
