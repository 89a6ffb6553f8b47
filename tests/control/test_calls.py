# SPDX-License-Identifier: Apache-2.0
"""The table of calls, its documents and the OpenAPI document."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING

import pytest

from orchestrator.control import METRICS_PATH, models
from orchestrator.control.calls import CALLS
from orchestrator.control.openapi import build_openapi
from orchestrator.control.parameters import Parameter
from orchestrator.control.table import ApiRequest, Call, CallTable

if TYPE_CHECKING:
    from orchestrator.control.client import ControlClient

STATUS_KEYS = {
    "Status": ["schema", "daemon", "libvirt", "domains", "cpus"],
    "DaemonStatus": ["version", "pid", "mode", "uptime_s"],
    "LibvirtStatus": ["uri", "connected", "reconnects_total", "stale_since"],
    "Domain": ["uuid", "name", "state", "mode", "vcpus", "channels"],
    "Vcpu": ["vcpu", "pcpus", "controllable", "reason", "requested_khz", "wish_khz"],
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
        "mechanism",
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


@pytest.mark.parametrize("call", [*CALLS], ids=lambda call: call.name)
def test_every_call_is_described_by_a_summary_and_paragraphs(call: Call) -> None:
    summary, *more = call.doc.split("\n")
    assert summary.endswith(".")
    assert more[:1] in ([], [""])


def test_a_path_names_only_parameters_that_the_table_knows() -> None:
    table = CallTable([Parameter(name="pcpu", kind=int, doc="A CPU.")])
    with pytest.raises(KeyError, match="group"):

        @table.get("/v1/groups/{group}", answer=models.DomainList)
        async def group(_: ApiRequest[None]) -> models.DomainList:
            """Show a clock group."""
            return models.DomainList(domains=())


def test_the_openapi_document_describes_every_call_and_the_metrics() -> None:
    described = {
        (path, method.upper())
        for path, operations in build_openapi()["paths"].items()
        for method in operations
    }
    calls = {(call.path, call.method) for call in CALLS}
    assert described == {*calls, (METRICS_PATH, "GET")}


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
