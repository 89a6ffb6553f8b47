# SPDX-License-Identifier: Apache-2.0
"""Writes a reference of what commands print with `-o json`: every document and key."""

from __future__ import annotations

import ast
import dataclasses
import inspect
import sys
import types
import typing
from enum import Enum
from typing import TYPE_CHECKING, Any, NewType, NotRequired, get_args, get_origin

from cli.doctor.checks import CHECKS
from cli.output.doctor_documents import Finding
from cli.output.documents import DOCUMENTS, CommandError
from cli.output.echo import SCHEMA
from scripts.api.reference import wrapped
from scripts.manual.docstrings import members_of

if TYPE_CHECKING:
    from collections.abc import Iterator

_INTRODUCTION = f"""\
# JSON output

With `-o json` (`--output json`) commands print JSON instead of tables: one document, \
in UTF-8, or with `--watch` and `vmpower events` one document on each line. `-o json` \
may be written before or after the command.

- Every document has the key `schema`: the version of its form, now {SCHEMA}. It grows \
when a key is removed or changes its meaning. Keys are added without notice: ignore \
those that you do not know.
- Frequencies are integers in kHz, times are ISO 8601 with a time zone, and `null` \
means that there is no value.
- `--all` concerns tables: documents have all domains.
- A command that fails prints a {{error}} on standard error and exits with a status \
other than 0; standard output is then empty.
- Where a document reports failures of single items (`vmpower apply`, `restore`, \
`domain onboard`, `domain offboard`), it is printed, and the exit status is not 0 \
either. `vmpower doctor` exits with 5 if it found a problem.
- Control characters in names and texts of other programs are replaced.

The documents of the daemon are those of its [API](api.md)."""

_CHECKS = """\
Each {finding} has the `id` of its check, which does not change. Checks without a \
finding, or with information only, are in `passed`."""

_KINDS: dict[Any, str] = {
    str: "string",
    int: "integer",
    float: "number",
    bool: "boolean",
    types.NoneType: "null",
}


def write_output_reference() -> str:
    """Write docs/json.md."""
    rows = (f"| `{name}` | {_link(kind)} |" for name, kind in DOCUMENTS.items())
    paragraphs = [
        *map(wrapped, _INTRODUCTION.format(error=_link(CommandError)).split("\n\n")),
        "## Commands",
        "\n".join(("| Command | Document |", "|---|---|", *rows)),
        "## Documents",
        *(wrapped(part) for kind in _reachable() for part in _document(kind)),
        "## Checks of the doctor",
        wrapped(_CHECKS.format(finding=_link(Finding))),
        "\n".join(("| Check | What it finds |", "|---|---|", *_checks())),
    ]
    return "\n\n".join(paragraphs) + "\n"


def _checks() -> Iterator[str]:
    for check in CHECKS:
        yield f"| `{check.name}` | {check.purpose.rstrip('.')} |"


def keys_of(kind: type) -> dict[str, Any]:
    """Return the annotations of a document's keys, also of inherited ones."""
    return typing.get_type_hints(kind, include_extras=True)


def parts_of(annotation: Any) -> tuple[Any, tuple[Any, ...]]:  # noqa: ANN401 - annotations are of any type
    """Take an annotation apart: `list`, `dict`, `union` or a type; what is inside."""
    if isinstance(annotation, NewType):
        return parts_of(annotation.__supertype__)
    origin, inside = get_origin(annotation), get_args(annotation)
    if origin is NotRequired:
        return parts_of(inside[0])
    if origin in (typing.Union, types.UnionType):
        return "union", inside
    if origin is None:
        return annotation, ()
    return origin, inside[-1:]


def is_document(kind: object) -> bool:
    """Return whether a type is a document, and not a plain value."""
    return typing.is_typeddict(kind) or dataclasses.is_dataclass(kind)


def _reachable() -> list[type]:
    """Return all documents, each before those that are inside it."""
    found: list[type] = []

    def visit(annotation: object) -> None:
        kind, inside = parts_of(annotation)
        if is_document(kind) and kind not in found:
            found.append(kind)
            inside = tuple(keys_of(kind).values())
        for each in inside:
            visit(each)

    for kind in (*DOCUMENTS.values(), CommandError):
        visit(kind)
    return found


def _document(kind: type) -> Iterator[str]:
    yield f"### {kind.__name__}"
    yield from (inspect.getdoc(kind) or "").split("\n\n")
    docs = _docs_of(kind)
    yield "\n".join(_key(name, it, docs[name]) for name, it in keys_of(kind).items())


def _docs_of(kind: type) -> dict[str, str]:
    """Return the descriptions of keys, also of those of the document's bases.

    A TypedDict does not have its bases at run time; its source does.
    """
    docs: dict[str, str] = {}
    (definition,) = ast.parse(inspect.getsource(kind)).body
    for base in definition.bases if isinstance(definition, ast.ClassDef) else ():
        name = base.id if isinstance(base, ast.Name) else ""
        found = vars(sys.modules[kind.__module__]).get(name)
        if isinstance(found, type) and typing.is_typeddict(found):
            docs |= _docs_of(found)
    return docs | members_of(kind)


def _key(name: str, annotation: Any, doc: str) -> str:  # noqa: ANN401 - the same
    text = _type(annotation)
    if get_origin(annotation) is NotRequired:
        text += ", may be left out"
    return f"- `{name}` ({text}): {' '.join(doc.split())}"


def _type(annotation: Any) -> str:  # noqa: ANN401 - the same
    kind, inside = parts_of(annotation)
    if kind == "union":
        return " or ".join(map(_type, inside))
    if kind is list:
        return f"array of {_type(inside[0])}"
    if kind is dict:
        return f"object with values of {_type(inside[0])}"
    if is_document(kind):
        return _link(kind)
    return "string" if issubclass(kind, Enum) else _KINDS[kind]


def _link(kind: type) -> str:
    return f"[{kind.__name__}](#{kind.__name__.lower()})"
