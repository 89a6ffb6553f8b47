# SPDX-License-Identifier: Apache-2.0
"""Writes a reference of the API in Markdown: every call, document and key."""

from __future__ import annotations

import inspect
import textwrap
from typing import TYPE_CHECKING, Any

from orchestrator.control import (
    BODY_LIMIT_BYTES,
    CONTROL_SOCKET,
    METRICS_PATH,
    OPENAPI_PATH,
    READ_ONLY_SOCKET,
)
from orchestrator.control.calls import CALLS
from orchestrator.control.listener import MAX_PER_USER
from orchestrator.control.models import Document, ErrorDocument
from orchestrator.control.openapi import FAILURES, failures_of
from orchestrator.control.server import DEADLINES
from orchestrator.control.streams import MAX_PER_USER as MAX_STREAMS_PER_USER
from orchestrator.control.table import StreamCall
from scripts.api.shapes import NOUNS, parts_of, shapes_of
from scripts.manual.docstrings import members_of

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import ModuleType

    from orchestrator.control.parameters import Parameter
    from orchestrator.control.table import Call
    from scripts.api.shapes import Key, Shape

_WIDTH = 100
_INTRODUCTION = f"""\
# The control API

vmpowerd serves HTTP with JSON documents on two UNIX sockets in its run directory: \
`{CONTROL_SOCKET}` accepts every call, for root and the members of its group; \
`{READ_ONLY_SOCKET}` accepts GET only, for every user of the host. \
`GET {OPENAPI_PATH}` returns this reference as an OpenAPI document, and \
`GET {METRICS_PATH}` the [metrics](metrics.md) for Prometheus.

A connection that waits for a request is closed after {DEADLINES.request_s:g} s, one \
that waits for a body after {DEADLINES.body_s:g} s, and one whose client does not read \
an answer after {DEADLINES.delivery_s:g} s. A user other than root has at most \
{MAX_PER_USER} connections and {MAX_STREAMS_PER_USER} streams of events at a socket; \
when a socket is crowded, the users that have the most lose the oldest ones.

The body of a request is a JSON object of at most {BODY_LIMIT_BYTES // 1024} KB, \
without a Content-Encoding; unknown keys are rejected. A newer daemon may add keys to \
its answers: ignore unknown ones. An answer whose HTTP status is 400 or above has the \
body {{error}}:"""


def write_reference() -> str:
    """Return the text of the reference."""
    introduction = _INTRODUCTION.format(error=_link(ErrorDocument))
    paragraphs = [
        *introduction.split("\n\n"),
        "\n".join(f"- {status}: {meaning}" for status, meaning in FAILURES.items()),
        "## Calls",
        *(paragraph for call in CALLS for paragraph in _call(call)),
        *(paragraph for noun in NOUNS for paragraph in _noun(noun)),
    ]
    return "\n\n".join(map(wrapped, paragraphs)) + "\n"


def wrapped(paragraph: str) -> str:
    """Wrap a paragraph, or each item of a list."""
    lines = (
        paragraph.split("\n") if paragraph.lstrip().startswith("- ") else [paragraph]
    )
    return "\n".join(_filled(line) for line in lines)


def _filled(line: str) -> str:
    text = line.lstrip()
    indent = " " * (len(line) - len(text))
    return textwrap.fill(
        text,
        _WIDTH,
        initial_indent=indent,
        subsequent_indent=indent + "  " * text.startswith("- "),
        break_on_hyphens=False,
        break_long_words=False,
    )


def _link(model: type[Document]) -> str:
    return f"[{model.__name__}](#{model.__name__.lower()})"


def _call(call: Call) -> Iterator[str]:
    yield f"### {call.method} {call.path}"
    yield from call.doc.split("\n\n")
    items = [_parameter(each) for each in call.parameters]
    if call.body is not None:
        items.append(f"- Body: {_link(call.body)}.")
    lines = " in each line" if isinstance(call, StreamCall) else ""
    items.append(f"- Answer: {_link(call.answer)}{lines}.")
    statuses = ", ".join(map(str, failures_of(call)))
    items.append(f"- Failures: HTTP status {statuses}.")
    yield "\n".join(items)


def _parameter(parameter: Parameter) -> str:
    kind, _ = parts_of(parameter.kind)
    place = "in the path"
    if parameter.is_query:
        place = f"in the query, default {str(parameter.default).lower()}"
    return f"- `{parameter.name}` ({kind}, {place}): {parameter.doc}"


def _noun(noun: ModuleType) -> Iterator[str]:
    yield f"## {(inspect.getdoc(noun) or '').rstrip('.')}"
    for shape in shapes_of(noun):
        yield from _shape(shape)


def _shape(shape: Shape) -> Iterator[str]:
    yield f"### {shape.name}"
    yield from shape.doc.split("\n\n")
    if shape.base:
        yield f"The keys of [{shape.base}](#{shape.base.lower()}), and:"
    yield "\n".join(line for key in shape.keys for line in _key(key))


def _key(key: Key) -> Iterator[str]:
    kind = _type(key.type)
    if key.is_optional:
        kind += ", may be left out"
    doc = " ".join(key.doc.split())
    documented = members_of(type(key.members[0])) if key.members else {}
    if key.members and not documented:
        values = ", ".join(f"`{member.value}`" for member in key.members)
        doc += f" One of {values}."
    yield f"- `{key.name}` ({kind}): {doc}"
    if documented:
        for member in key.members:
            meaning = " ".join(documented[member.name].split())
            yield f"  - `{member.value}`: {meaning}"


def _type(annotation: Any) -> str:  # noqa: ANN401 - annotations are of any type
    kind, inside = parts_of(annotation)
    match kind:
        case "union":
            return " or ".join(map(_type, inside))
        case "array":
            return f"array of {_type(inside[0])}"
        case "object":
            return f"object with values of {_type(inside[0])}"
        case _:
            is_document = isinstance(annotation, type) and issubclass(
                annotation, Document
            )
            return f"[{kind}](#{kind.lower()})" if is_document else kind
