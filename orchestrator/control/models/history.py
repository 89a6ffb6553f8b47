# SPDX-License-Identifier: Apache-2.0
"""What domains did, over hours and weeks."""

from __future__ import annotations

from pydantic import AwareDatetime, Field

from orchestrator.control.models.document import Count, Document, Khz
from orchestrator.energy.residency import Activity, MeterSource
from orchestrator.history.holds import HoldCause

__all__ = ["History", "HistoryDomain", "HistoryHold", "HistoryHost", "HistoryStep"]


class HistoryStep(Document):
    """For how long vCPUs and threads of a domain ran at a frequency."""

    activity: Activity
    """Whether they polled, that is, ran all the time."""
    khz: Khz
    """The frequency in kHz; 0: unknown."""
    requested_khz: Khz
    """The frequency with every request granted, as in mode `observe` they are not."""
    highest_khz: Khz
    """The highest frequency that they might have had."""
    core_s: float
    """Seconds, times cores."""


class HistoryHold(Document):
    """For how long vCPUs did not have the frequency that they requested."""

    cause: HoldCause
    """Why."""
    core_s: float
    """Seconds, times vCPUs."""
    joules: float
    """Energy that it cost while they ran, estimated by a power curve."""


class HistoryDomain(Document):
    """One domain in one part of the time."""

    part: Count
    """Number of the part, from 0."""
    uuid: str
    """UUID of the domain."""
    name: str
    """Its latest name."""
    duration_s: float
    """For how long it was seen to run."""
    has_energy: bool
    """Whether energy was accounted for; else the joules are 0."""
    requests_total: Count
    """Requests, policies and queries of its guest."""
    refused_total: Count
    """Of these, answered NACK."""
    late_total: Count
    """Of these, not answered because the guest had stopped waiting."""
    dropped_total: Count
    """Of these, not answered because the guest does not read."""
    refusals: dict[str, int]
    """Number of refused requests by reason: `floating`, `no-vcpu`, ..."""
    joules: float
    """Energy of its threads, without any part of the static energy."""
    error_joules: float
    """Standard deviation of `joules`."""
    saved_joules: float
    """What its vCPUs would have drawn more at their highest frequency."""
    saved_error_joules: float
    """Standard deviation of `saved_joules`."""
    possible_joules: float
    """What would have been saved with every request granted."""
    steps: tuple[HistoryStep, ...]
    """At which frequencies it ran."""
    holds: tuple[HistoryHold, ...]
    """What kept it from the frequencies that it requested."""


class HistoryHost(Document):
    """The host in one part of the time."""

    part: Count
    """Number of the part, from 0."""
    duration_s: float
    """How much of it was recorded."""
    source: MeterSource | None
    """Where the energy comes from; null: it was not accounted for."""
    calibrated: bool
    """Whether the static power was measured on this host."""
    holes: Count
    """Number of times without usable meters, in which the energy is modelled."""
    measured_joules: float
    """Energy of all packages."""
    static_joules: float
    """Of it, what they draw with all cores idle."""
    idle_joules: float
    """Of it, cores that sleep."""
    host_joules: float
    """Of it, threads of no domain."""
    error_joules: float
    """Standard deviation of the domains' sum."""
    saved_joules: float
    """What all domains saved."""
    saved_error_joules: float
    """Standard deviation of `saved_joules`."""
    possible_joules: float
    """What they would have saved with every request granted."""


class History(Document):
    """What domains did in a time, in parts of equal length."""

    since: AwareDatetime
    """Where the first part begins."""
    until: AwareDatetime
    """Where the last part ends."""
    step_s: Count
    """Length of each part."""
    hosts: tuple[HistoryHost, ...]
    """The host; parts in which nothing was recorded are left out."""
    domains: tuple[HistoryDomain, ...]
    """The domains, in each part."""
    events: dict[str, int] = Field(default_factory=dict)
    """Number of events by kind, of all domains."""
    price_per_kwh: float | None = None
    """Price of a kilowatt-hour now; null: not configured."""
    currency: str = ""
    """Currency of the price."""
    co2_g_per_kwh: float | None = None
    """Grams of CO2 for each kilowatt-hour; null: not configured."""
    problem: str | None = None
    """Why the history is not being written; null: it is."""
