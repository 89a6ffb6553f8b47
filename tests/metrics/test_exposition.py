# SPDX-License-Identifier: Apache-2.0
"""The text of metrics: the bytes that prometheus_client's own encoders write."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry
from prometheus_client.exposition import choose_encoder
from prometheus_client.openmetrics import parser as open_metrics
from prometheus_client.parser import text_string_to_metric_families

from orchestrator.metrics.exposition import SamplesCollector, expose
from orchestrator.metrics.families import FAMILIES
from orchestrator.metrics.family import Family, Kind, Observations, Samples
from tests.properties import examples

if TYPE_CHECKING:
    from collections.abc import Sequence

TEXT = ""
OPEN_METRICS = "application/openmetrics-text; version=1.0.0"
PROMETHEUS_2 = (
    "application/openmetrics-text;version=1.0.0,"
    "application/openmetrics-text;version=0.0.1;q=0.75,"
    "text/plain;version=0.0.4;q=0.5,*/*;q=0.1"
)
PROMETHEUS_3 = (
    "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.6,"
    "text/plain;version=1.0.0;escaping=allow-utf-8;q=0.4,*/*;q=0.2"
)
ACCEPTED = (TEXT, OPEN_METRICS, PROMETHEUS_2, PROMETHEUS_3, "text/html, */*")
ODD = "say \"hi\" \\ to\nCPU 'ü' {a=1}"


def value_of(family: Family) -> float | Observations:
    if family.kind is Kind.SUMMARY:
        return Observations(total=0.25, number=3)
    if family.kind is Kind.HISTOGRAM:
        buckets = ((1.024e-06, 1), (0.008388608, 3))
        return Observations(total=0.25, number=3, buckets=buckets)
    return 1 if family.kind is Kind.INFO else 3.001e9


def samples_of(family: Family, text: str = "fw") -> Samples:
    values = tuple(f"{text}{n}" for n in range(len(family.labels)))
    return Samples(family, [(values, value_of(family))])


def encoded(samples: Sequence[Samples], accept: str) -> tuple[bytes, str]:
    """Return what prometheus_client's encoder writes."""
    registry = CollectorRegistry()
    registry.register(SamplesCollector(samples))
    encode, content_type = choose_encoder(accept)
    return encode(registry), content_type


def parsed(body: bytes, content_type: str) -> dict[tuple[str, str], float]:
    """Return the value of each series, as a client of this format reads them."""
    parse: Any = (
        open_metrics.text_string_to_metric_families
        if content_type.startswith("application/openmetrics-text")
        else text_string_to_metric_families
    )
    return {
        (sample.name, str(sorted(sample.labels.items()))): sample.value
        for metric in parse(body.decode())
        for sample in metric.samples
    }


@pytest.mark.parametrize("accept", ACCEPTED)
@pytest.mark.parametrize("text", ["fw", ODD])
def test_the_text_is_that_of_prometheus_client(accept: str, text: str) -> None:
    samples = [samples_of(family, text) for family in FAMILIES]
    assert expose(samples, accept) == encoded(samples, accept)


@settings(max_examples=examples(200))
@given(
    name=st.text(st.characters(codec="utf-8")),
    # -0.0 becomes 0.0, which equals it, and whose text is kept.
    value=st.floats(allow_nan=False).map(lambda it: it + 0.0) | st.integers(0, 2**53),
    accept=st.sampled_from(ACCEPTED),
)
def test_any_label_and_value_is_written_as_prometheus_client_does(
    name: str, value: float, accept: str
) -> None:
    family = Family(
        name="vmpower_x_hertz", kind=Kind.GAUGE, help=name, labels=("a", "b"), bound=""
    )
    samples = [Samples(family, [((name, "1"), value), (("2", name), value)])]
    assert expose(samples, accept) == encoded(samples, accept)


@pytest.mark.parametrize("accept", ACCEPTED)
def test_a_client_reads_every_series(accept: str) -> None:
    body, content_type = expose([samples_of(family) for family in FAMILIES], accept)
    series = parsed(body, content_type)
    names = {name for name, _ in series}
    ends = {Kind.HISTOGRAM: "_bucket", Kind.SUMMARY: "_sum"}
    for family in FAMILIES:
        assert family.name + ends.get(family.kind, "") in names
    granted = "[('cpu', 'fw0')]"
    assert series["vmpower_cpu_granted_hertz", granted] == 3.001e9


def test_the_client_chooses_the_format() -> None:
    samples = [samples_of(FAMILIES[0])]
    text, open_ = expose(samples, TEXT), expose(samples, PROMETHEUS_2)
    assert text.content_type.startswith("text/plain; version=0.0.4")
    assert b"# TYPE vmpower_build_info gauge" in text.body
    assert open_.content_type.startswith("application/openmetrics-text; version=1.0.0")
    assert b"# TYPE vmpower_build info" in open_.body
    assert open_.body.endswith(b"# EOF\n")


@pytest.mark.parametrize(
    "accept",
    [
        "application/openmetrics-text; version=new",
        "application/openmetrics-text; version=1.0.0; escaping=dots",
        "application/openmetrics-text; version=1.0.0; escaping=values",
        "text/plain; version=1.x",
        ";;,=,\x7f",
    ],
)
def test_any_accept_header_is_answered(accept: str) -> None:
    body, _ = expose([samples_of(FAMILIES[0])], accept)
    assert b"HELP" in body
    assert b"build" in body


@pytest.mark.parametrize("family", FAMILIES, ids=lambda family: str(family.name))
def test_names_follow_the_conventions(family: Family) -> None:
    assert family.name.startswith("vmpower_")
    assert family.name.endswith("_total") is (family.kind is Kind.COUNTER)
    assert family.name.endswith("_info") is (family.kind is Kind.INFO)
    assert family.help.endswith(".")
    assert not {"instance", "job", "le", "quantile"} & {*family.labels}
    assert not {"khz", "ms", "percent"} & {*family.name.split("_")}


def test_names_are_unique() -> None:
    assert len({family.name for family in FAMILIES}) == len(FAMILIES)


@pytest.mark.parametrize("family", FAMILIES, ids=lambda family: str(family.name))
def test_labels_are_sorted_as_they_are_written(family: Family) -> None:
    assert list(family.labels) == sorted(family.labels)
