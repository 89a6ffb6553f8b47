# SPDX-License-Identifier: Apache-2.0
"""The OpenAPI document of the control API, built from the table of calls.

Source: OpenAPI 3.1.0, https://spec.openapis.org/oas/v3.1.0; its schemas are JSON
Schema 2020-12, which is what pydantic writes.
"""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any

from pydantic.json_schema import models_json_schema

import orchestrator
from orchestrator.control import CONTROL_SOCKET, METRICS_PATH, READ_ONLY_SOCKET
from orchestrator.control.calls import CALLS
from orchestrator.control.models import Document, ErrorDocument
from orchestrator.control.table import StreamCall

if TYPE_CHECKING:
    from collections.abc import Iterable

    from orchestrator.control.parameters import Parameter
    from orchestrator.control.table import Call

_TYPES: dict[type[str | int | bool], dict[str, Any]] = {
    str: {"type": "string"},
    int: {"type": "integer", "minimum": 0},
    bool: {"type": "boolean"},
}
FAILURES = {
    400: "The request is malformed, or a parameter is invalid.",
    403: "This socket is read-only.",
    404: "No such domain, channel, CPU or policy.",
    408: "The body did not arrive in time.",
    409: "Not possible in the current state.",
    413: "The body is too large.",
    415: "The request has a Content-Encoding.",
    422: "The body does not match its schema.",
    503: "The daemon is stopping, or there are too many event streams.",
}
"""What the HTTP status of a failure means."""
_METRICS: dict[str, Any] = {
    "operationId": "metrics",
    "summary": "Metrics for Prometheus",
    "description": "The Accept header chooses between Prometheus' text format and"
    " OpenMetrics.",
    "responses": {
        "200": {
            "description": "All metrics.",
            "content": {
                media: {"schema": {"type": "string"}}
                for media in ("text/plain", "application/openmetrics-text")
            },
        }
    },
}


@functools.cache
def build_openapi() -> dict[str, Any]:
    """Build the document, once; it consists of JSON values only."""
    paths: dict[str, dict[str, Any]] = {}
    for call in CALLS:
        paths.setdefault(call.path, {})[call.method.lower()] = _operation(call)
    paths[METRICS_PATH] = {"get": _METRICS}
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "vmpowerd",
            "version": orchestrator.__version__,
            "description": "Control API of vmpowerd, on the UNIX sockets "
            f"{CONTROL_SOCKET} and, for GET only, {READ_ONLY_SOCKET}.",
        },
        "paths": paths,
        "components": {"schemas": _schemas()},
    }


def failures_of(call: Call) -> dict[int, str]:
    """Return the HTTP statuses of a call's failures and what they mean."""
    statuses = {400, 503, *call.errors}
    if not call.is_reading:
        statuses.add(403)
    if call.body is not None:
        statuses |= {408, 413, 415, 422}
    return {status: FAILURES[status] for status in sorted(statuses)}


def _operation(call: Call) -> dict[str, Any]:
    operation: dict[str, Any] = {
        "operationId": call.name,
        "summary": call.doc.partition("\n")[0].rstrip("."),
        "description": call.doc,
        "parameters": [_parameter(each) for each in call.parameters],
        "responses": _responses(call),
    }
    if call.body is not None:
        operation["requestBody"] = {
            "required": True,
            "content": {"application/json": {"schema": _reference(call.body)}},
        }
    return operation


def _parameter(parameter: Parameter) -> dict[str, Any]:
    schema = _TYPES[parameter.kind]
    if parameter.is_query:
        schema = schema | {"default": parameter.default}
    return {
        "name": parameter.name,
        "in": "query" if parameter.is_query else "path",
        "required": not parameter.is_query,
        "description": parameter.doc,
        "schema": schema,
    }


def _responses(call: Call) -> dict[str, Any]:
    is_stream = isinstance(call, StreamCall)
    media = "application/x-ndjson" if is_stream else "application/json"
    responses = {
        "200": {
            "description": (call.answer.__doc__ or "").partition("\n")[0],
            "content": {media: {"schema": _reference(call.answer)}},
        }
    }
    failure = {"application/json": {"schema": _reference(ErrorDocument)}}
    for status, description in failures_of(call).items():
        responses[str(status)] = {"description": description, "content": failure}
    return responses


def _reference(document: type[Document]) -> dict[str, str]:
    return {"$ref": f"#/components/schemas/{document.__name__}"}


def _schemas() -> dict[str, Any]:
    answers = {call.answer for call in CALLS} | {ErrorDocument}
    bodies = {call.body for call in CALLS if call.body is not None}
    _, definitions = models_json_schema(
        [
            *((model, "serialization") for model in _by_name(answers)),
            *((model, "validation") for model in _by_name(bodies)),
        ],
        ref_template="#/components/schemas/{model}",
    )
    schemas: dict[str, Any] = definitions["$defs"]
    return schemas


def _by_name(found: Iterable[type[Document]]) -> list[type[Document]]:
    return sorted(found, key=lambda model: model.__name__)
