# SPDX-License-Identifier: Apache-2.0
"""Renders what was read from the history as a document."""

from __future__ import annotations

from typing import TYPE_CHECKING

from orchestrator.control import models
from orchestrator.energy.residency import MeterSource
from orchestrator.errors import ControlError

if TYPE_CHECKING:
    from datetime import datetime

    from orchestrator.config import EnergyConfig
    from orchestrator.history.ranges import DomainPart, Found, HostPart


MAX_ROWS = 10_000
"""Of domains in one answer: some 5 MB."""


def check_rows(count: int) -> None:
    """Refuse an answer that would be too long.

    Raises:
        ControlError: 400.
    """
    if count > MAX_ROWS:
        raise ControlError(
            f"too many rows: {count}, at most {MAX_ROWS}",
            status=400,
            hint="choose a longer step, one domain, or per_domain=false",
        )


def render_history(
    found: Found,
    energy: EnergyConfig,
    *,
    since: datetime,
    until: datetime,
    step_s: int,
    problem: str,
) -> models.History:
    """Return the document.

    Args:
        found: what was read.
        energy: has prices.
        since: where the first part begins.
        until: where the last part ends.
        step_s: length of each part.
        problem: why the history is not being written; empty: it is.
    """
    return models.History(
        since=since,
        until=until,
        step_s=step_s,
        hosts=tuple(map(_host, found.hosts)),
        domains=tuple(map(_domain, found.domains)),
        events=found.events,
        price_per_kwh=energy.price_per_kwh,
        currency=energy.currency,
        co2_g_per_kwh=energy.co2_g_per_kwh,
        problem=problem or None,
    )


def _host(part: HostPart) -> models.HistoryHost:
    return models.HistoryHost(
        part=part.number,
        duration_s=part.duration_s,
        source=None if part.source is None else MeterSource(part.source),
        calibrated=part.is_calibrated,
        holes=part.holes,
        measured_joules=part.measured_j,
        static_joules=part.static_j,
        idle_joules=part.idle_j,
        host_joules=part.host_j,
        error_joules=part.error_j,
        saved_joules=part.saved_j,
        saved_error_joules=part.saved_error_j,
        possible_joules=part.possible_j,
    )


def _domain(part: DomainPart) -> models.HistoryDomain:
    return models.HistoryDomain(
        part=part.number,
        uuid=part.uuid,
        name=part.name,
        duration_s=part.duration_s,
        has_energy=part.has_energy,
        requests_total=part.requests.total,
        refused_total=part.requests.refused,
        late_total=part.requests.late,
        dropped_total=part.requests.dropped,
        refusals=part.refusals,
        joules=part.energy_j,
        error_joules=part.error_j,
        saved_joules=part.saved_j,
        saved_error_joules=part.saved_error_j,
        possible_joules=part.possible_j,
        steps=tuple(
            models.HistoryStep(**step._asdict(), core_s=core_s)
            for step, core_s in sorted(part.residency.items())
        ),
        holds=tuple(
            models.HistoryHold(cause=cause, core_s=time.core_s, joules=time.joules)
            for cause, time in sorted(part.holds.items())
        ),
    )
