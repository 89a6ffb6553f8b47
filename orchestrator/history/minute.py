# SPDX-License-Identifier: Apache-2.0
"""What the history keeps of a minute, or of a longer time; pure values."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Mapping

    from orchestrator.energy.residency import Activity, DomainEnergy, HostEnergy
    from orchestrator.history.holds import HoldCause
    from orchestrator.values.domain import DomainId


class Requests(NamedTuple):
    """Requests of a domain's guest over all of its channels."""

    total: int = 0
    """Requests, policies and queries."""
    refused: int = 0
    """Answered NACK."""
    late: int = 0
    """Not answered because the guest had stopped waiting."""
    dropped: int = 0
    """Not answered because the guest does not read."""


NO_REQUESTS = Requests()


class HoldTime(NamedTuple):
    """For how long vCPUs were held, by one cause."""

    core_s: float = 0.0
    """Seconds, times vCPUs."""
    joules: float = 0.0
    """Energy that it cost while they ran, estimated by a power curve."""


class Step(NamedTuple):
    """Frequencies of a slot; see `energy.residency.Slot`, without the clock group."""

    activity: Activity
    khz: int
    requested_khz: int
    highest_khz: int


@dataclass(frozen=True, slots=True, kw_only=True)
class DomainMinute:
    """What one domain did."""

    uuid: DomainId
    name: str
    """The latest one."""
    requests: Requests = NO_REQUESTS
    refusals: Mapping[str, int] = field(default_factory=dict)
    """Refused requests, by reason."""
    holds: Mapping[HoldCause, HoldTime] = field(default_factory=dict)
    energy: DomainEnergy | None = None
    """None: energy is not accounted for."""


class EventRow(NamedTuple):
    """One event."""

    number: int
    """Its ID."""
    at_s: float
    """Seconds since the epoch, UTC."""
    kind: str
    domain: str
    """Name; empty: it is about none."""
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Minute:
    """What happened in a time; one row of the history."""

    start_s: float
    """Seconds since the epoch, UTC."""
    duration_s: float
    domains: tuple[DomainMinute, ...]
    host: HostEnergy | None = None
    """None: energy is not accounted for."""
    events: tuple[EventRow, ...] = ()
