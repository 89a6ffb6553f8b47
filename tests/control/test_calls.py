"""The table of calls, and everything made from it."""

from __future__ import annotations

import json
import re
from typing import Any, get_type_hints

import pytest

from orchestrator.control import calls, documents, models
from orchestrator.control.client import ControlClient
from orchestrator.control.handlers import ANSWERS
from orchestrator.control.openapi import build_openapi, model_of

STATUS_KEYS = {
    "Status": ["schema", "daemon", "libvirt", "domains", "cpus"],
    "DaemonStatus": ["version", "pid", "mode", "uptime_s"],
    "LibvirtStatus": ["uri", "connected", "reconnects_total", "stale_since"],
    "Domain": ["uuid", "name", "state", "mode", "vcpus", "channels"],
    "Vcpu": ["vcpu", "pcpus", "controllable", "reason", "wish_khz"],
    "Channel": [
        "number",
        "target",
        "path",
        "state",
        "requests_total",
        "acks_total",
        "nacks_total",
        "dropped_total",
        "late_total",
        "errors_total",
    ],
    "Cpu": [
        "pcpu",
        "clock_group",
        "driver",
        "governor",
        "claimed",
        "simulated",
        "min_khz",
        "max_khz",
        "grant_khz",
        "current_khz",
        "steps_khz",
        "nominal_khz",
    ],
}


def model_keys(model: type[models.Document]) -> set[str]:
    return {field.alias or name for name, field in model.model_fields.items()}


@pytest.mark.parametrize("name", STATUS_KEYS)
def test_the_status_document_keeps_its_promised_keys(name: str) -> None:
    assert set(STATUS_KEYS[name]) <= model_keys(getattr(models, name))


def test_the_status_document_states_its_schema_version(
    reader: ControlClient,
) -> None:
    assert reader.status()["schema"] == 1


@pytest.mark.parametrize(
    "document",
    [d for d in vars(documents).values() if getattr(d, "__total__", None)],
    ids=lambda document: document.__name__,
)
def test_clients_and_server_have_the_same_documents(document: type[Any]) -> None:
    assert set(get_type_hints(document)) == model_keys(model_of(document))


MODELS = [
    model
    for model in vars(models).values()
    if isinstance(model, type) and issubclass(model, models.Document)
]


@pytest.mark.parametrize("model", MODELS, ids=lambda model: model.__name__)
def test_every_document_and_every_key_is_described(
    model: type[models.Document],
) -> None:
    assert model.__doc__
    undescribed = [
        key for key, field in model.model_fields.items() if not field.description
    ]
    assert undescribed == []


def test_every_call_is_answered() -> None:
    assert set(ANSWERS) == {call for call in calls.CALLS if not call.is_stream}


@pytest.mark.parametrize("call", calls.CALLS, ids=lambda call: call.name)
def test_the_client_has_a_method_for_every_call(call: calls.Call[Any]) -> None:
    assert callable(getattr(ControlClient, call.name))


@pytest.mark.parametrize("call", calls.CALLS, ids=lambda call: call.name)
def test_a_path_names_exactly_the_parameters_of_its_call(
    call: calls.Call[Any],
) -> None:
    named = [each.name for each in call.parameters if not each.is_query]
    assert re.findall(r"{(\w+)}", call.path) == named


def test_the_openapi_document_describes_every_call() -> None:
    described = {
        (path, method.upper())
        for path, operations in build_openapi()["paths"].items()
        for method in operations
    }
    assert described == {(call.path, call.method) for call in calls.CALLS}


def test_every_reference_in_the_openapi_document_leads_somewhere() -> None:
    document = build_openapi()
    text = json.dumps(document)
    wanted = set(re.findall(r'"#/components/schemas/(\w+)"', text))
    assert wanted == set(document["components"]["schemas"])


def test_the_openapi_document_is_served(reader: ControlClient) -> None:
    assert reader.openapi() == json.loads(json.dumps(build_openapi()))


def test_the_openapi_document_describes_the_keys_of_documents() -> None:
    schemas = build_openapi()["components"]["schemas"]
    undescribed = [
        (name, key)
        for name, schema in schemas.items()
        for key, found in schema.get("properties", {}).items()
        # A reference leads to the description of the document.
        if not ("description" in found or "$ref" in found)
    ]
    assert undescribed == []
    assert "kHz" in schemas["ClockRequest"]["properties"]["khz"]["description"]
