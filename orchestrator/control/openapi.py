"""The OpenAPI document of the control API, made from the table of calls.

Source: OpenAPI 3.1.0, https://spec.openapis.org/oas/v3.1.0; its schemas are JSON
Schema 2020-12, which is what pydantic writes.
"""

from __future__ import annotations

from typing import Any, cast

from pydantic.json_schema import models_json_schema

import orchestrator
from orchestrator.control import calls, models
from orchestrator.control.calls import CALLS, Call, Parameter

_TYPES: dict[type[str | int | bool], dict[str, Any]] = {
    str: {"type": "string"},
    int: {"type": "integer", "minimum": 0},
    bool: {"type": "boolean"},
}
_FAILURES = {
    400: "The request cannot be understood.",
    403: "This socket only reads.",
    404: "There is no such thing.",
    409: "Not possible in the present state.",
    413: "The body is too large.",
    422: "The body is not what this call takes.",
    503: "Not now: too many streams, or the daemon is stopping.",
}


def model_of(document: type[Any]) -> type[models.Document]:
    """Return the model that has the same name as a client's document."""
    model = getattr(models, document.__name__)
    return cast("type[models.Document]", model)


def build_openapi() -> dict[str, Any]:
    """Build the document; its parts are JSON values only."""
    paths: dict[str, dict[str, Any]] = {}
    for call in CALLS:
        paths.setdefault(call.path, {})[call.method.lower()] = _operation(call)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "vmpowerd",
            "version": orchestrator.__version__,
            "description": "Control API of vmpowerd, on the UNIX sockets "
            f"{calls.CONTROL_SOCKET} and, for GET only, {calls.READ_ONLY_SOCKET}.",
        },
        "paths": paths,
        "components": {"schemas": _schemas()},
    }


def _operation(call: Call[Any]) -> dict[str, Any]:
    operation: dict[str, Any] = {
        "operationId": call.name,
        "summary": call.doc.split(". ")[0].rstrip("."),
        "description": call.doc,
        "parameters": [_parameter(each) for each in call.parameters],
        "responses": _responses(call),
    }
    if call.request is not None:
        operation["requestBody"] = {
            "required": True,
            "content": {"application/json": {"schema": _reference(call.request)}},
        }
    return operation


def _parameter(parameter: Parameter) -> dict[str, Any]:
    return {
        "name": parameter.name,
        "in": "query" if parameter.is_query else "path",
        "required": not parameter.is_query,
        "description": parameter.doc,
        "schema": _TYPES[parameter.kind],
    }


def _responses(call: Call[Any]) -> dict[str, Any]:
    media = "application/x-ndjson" if call.is_stream else "application/json"
    answer = model_of(call.answer)
    responses = {
        "200": {
            "description": (answer.__doc__ or "").split("\n")[0],
            "content": {media: {"schema": _reference(call.answer)}},
        }
    }
    failure = {"schema": {"$ref": "#/components/schemas/ErrorDocument"}}
    for status in sorted({*call.errors, 400} | _failures_of_a_change(call)):
        responses[str(status)] = {
            "description": _FAILURES[status],
            "content": {"application/json": failure},
        }
    return responses


def _failures_of_a_change(call: Call[Any]) -> set[int]:
    if call.is_reading:
        return set()
    return {403} if call.request is None else {403, 413, 422}


def _reference(document: type[Any]) -> dict[str, str]:
    return {"$ref": f"#/components/schemas/{document.__name__}"}


def _schemas() -> dict[str, Any]:
    answers = {model_of(call.answer) for call in CALLS} | {models.ErrorDocument}
    requests = {model_of(call.request) for call in CALLS if call.request is not None}
    _, definitions = models_json_schema(
        [
            *((model, "serialization") for model in _by_name(answers)),
            *((model, "validation") for model in _by_name(requests)),
        ],
        ref_template="#/components/schemas/{model}",
    )
    schemas: dict[str, Any] = definitions["$defs"]
    return schemas


def _by_name(found: set[type[models.Document]]) -> list[type[models.Document]]:
    return sorted(found, key=lambda model: model.__name__)
