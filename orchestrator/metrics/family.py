# SPDX-License-Identifier: Apache-2.0
"""A family of metrics, and its samples at one time.

Source: https://prometheus.io/docs/practices/naming/.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, NamedTuple, Protocol

if TYPE_CHECKING:
    from collections.abc import Sequence

    from orchestrator.metrics.snapshot import Snapshot


class Kind(StrEnum):
    """What a family's samples are."""

    COUNTER = "counter"
    """Only grows while its series exists; its name ends in `_total`."""
    GAUGE = "gauge"
    """Goes up and down."""
    INFO = "info"
    """Always 1: its labels are the value; its name ends in `_info`."""
    HISTOGRAM = "histogram"
    """Cumulative buckets, the sum and the number of all observations."""
    SUMMARY = "summary"
    """The sum and the number of all observations."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Family:
    """A family of metrics."""

    name: str
    """As in a query; without `_bucket`, `_sum` and `_count`."""
    kind: Kind
    help: str
    """One sentence."""
    labels: tuple[str, ...] = ()
    """In alphabetical order, as they are written."""
    bound: str
    """How many series there are at most, for people."""


class Observations(NamedTuple):
    """The value of a histogram or a summary."""

    total: float
    """Their sum."""
    number: int
    """How many there are."""
    buckets: tuple[tuple[float, int], ...] = ()
    """Of a histogram: upper bounds, ascending, each with the number of observations
    that are at most as large."""


class Samples(NamedTuple):
    """The samples of one family."""

    family: Family
    rows: Sequence[tuple[tuple[str, ...], float | Observations]]
    """Label values, in the order of the family's labels, and the value."""


class Source(Protocol):
    """What some families are read from."""

    def read(self, snapshot: Snapshot) -> list[Samples]:
        """Return the samples of all its families, copied: they are used in a thread.

        Called in the asyncio thread; reads no file and does not block.

        Args:
            snapshot: what all sources have in common.
        """
        ...
