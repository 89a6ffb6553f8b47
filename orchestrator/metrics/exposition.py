# SPDX-License-Identifier: Apache-2.0
"""Samples as text, in the format that the client prefers.

prometheus_client chooses the format. The text itself is written here, and is byte for
byte that of its encoders, which take up to six microseconds for a sample since they
escape names as well (decision 0059).

Source: https://prometheus.io/docs/instrumenting/exposition_formats/,
https://github.com/prometheus/OpenMetrics/blob/v1.0.0/specification/OpenMetrics.md.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING

from prometheus_client import CollectorRegistry
from prometheus_client.core import Metric
from prometheus_client.exposition import choose_encoder
from prometheus_client.utils import floatToGoString

from orchestrator.control.service import Exposition
from orchestrator.metrics.family import Kind, Observations

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from orchestrator.metrics.family import Family, Samples

_OPEN_METRICS = "application/openmetrics-text"
_KEPT = 16_384
"""Texts that are kept: the series are the same ones in each scrape."""
_EXPONENTS_FROM = 1e6
"""Positive numbers that Go writes with an exponent, and Python does not."""
_UNCHANGED = ("underscores", "allow-utf-8")
"""Ways to escape names that leave ours as they are."""
_SUFFIXES = {Kind.COUNTER: "_total", Kind.INFO: "_info"}
"""What ends the name of a sample and is not in that of its metric in OpenMetrics."""
_END = "# EOF\n"


class SamplesCollector:
    """A collector of samples that were read already."""

    def __init__(self, samples: Sequence[Samples]) -> None:
        self._samples = samples

    def collect(self) -> Iterator[Metric]:
        """Yield one metric for each family."""
        return map(_metric, self._samples)


def expose(samples: Sequence[Samples], accept: str) -> Exposition:
    """Write samples in the format that suits an Accept header."""
    try:
        encode, content_type = choose_encoder(accept)
    except (TypeError, ValueError):  # a version that is not made of numbers
        encode, content_type = choose_encoder("")
    _, _, escaping = content_type.partition("escaping=")
    if escaping and escaping not in _UNCHANGED:
        registry = CollectorRegistry()
        registry.register(SamplesCollector(samples))
        return Exposition(encode(registry), content_type)
    is_open = content_type.startswith(_OPEN_METRICS)
    text = "".join(line for it in samples for line in _lines(it, is_open=is_open))
    return Exposition((text + _END * is_open).encode(), content_type)


def _base_name(family: Family) -> str:
    """Return the name of a family as OpenMetrics and prometheus_client have it."""
    return family.name.removesuffix(_SUFFIXES.get(family.kind, ""))


def _metric(samples: Samples) -> Metric:
    family, rows = samples
    metric = Metric(_base_name(family), family.help, family.kind.value)
    for values, value in rows:
        labels = dict(zip(family.labels, values, strict=True))
        if not isinstance(value, Observations):
            metric.add_sample(family.name, labels, value)
            continue
        for suffix, more, number in _parts(value):
            metric.add_sample(family.name + suffix, labels | more, number)
    return metric


def _parts(value: Observations) -> Iterator[tuple[str, dict[str, str], float]]:
    """Yield the samples that observations consist of: suffix, label, value."""
    for bound, number in value.buckets:
        yield "_bucket", {"le": _number(bound)}, number
    if value.buckets:
        yield "_bucket", {"le": "+Inf"}, value.number
    yield "_count", {}, value.number
    yield "_sum", {}, value.total


def _lines(samples: Samples, *, is_open: bool) -> Iterator[str]:
    family, rows = samples
    name, kind = family.name, family.kind.value
    help_ = family.help.replace("\\", r"\\").replace("\n", r"\n")
    if is_open:
        name, help_ = _base_name(family), help_.replace('"', r"\"")
    elif family.kind is Kind.INFO:  # which the older format does not have
        kind = Kind.GAUGE.value
    yield f"# HELP {name} {help_}\n# TYPE {name} {kind}\n"
    # Labels are in the order of their names, as in prometheus_client's text.
    labels = ",".join(f'{label}="%s"' for label in family.labels)
    series = f"{family.name}{{{labels}}}" if labels else family.name
    for values, value in rows:
        if not isinstance(value, Observations):
            yield f"{_name(series, values)} {_number(value)}\n"
            continue
        for suffix, more, number in _parts(value):
            label = "".join(f'{{{key}="{bound}"}}' for key, bound in more.items())
            yield f"{family.name}{suffix}{label} {_number(number)}\n"


@lru_cache(maxsize=_KEPT)
def _name(series: str, values: tuple[str, ...]) -> str:
    """Return the name of a series with the values of its labels."""
    return series % tuple(map(_escape, values))


def _escape(value: str) -> str:
    return value.replace("\\", r"\\").replace("\n", r"\n").replace('"', r"\"")


def _number(value: float) -> str:
    if type(value) is float:
        # Joules and seconds, which differ in each scrape. Not a number is not smaller.
        is_like_go = -_EXPONENTS_FROM < value < _EXPONENTS_FROM
        return repr(value) if is_like_go else _go_number(value)
    return _kept_number(value)


_go_number: Callable[[float], str] = floatToGoString
_kept_number = lru_cache(maxsize=_KEPT)(_go_number)
