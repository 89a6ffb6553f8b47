# SPDX-License-Identifier: Apache-2.0
"""The JSON documents that `vmpower report` and `vmpower advise` print."""

from __future__ import annotations

from typing import TypedDict


class ReportFrequency(TypedDict):
    """For how long cores ran at a frequency."""

    khz: int
    """The frequency; 0: unknown."""
    core_h: float
    """Hours, times cores."""


class ReportRow(TypedDict):
    """One domain, or all of them in an hour or a day."""

    domain: str | None
    """Name of the domain; null: all."""
    uuid: str | None
    """UUID of the domain; null: all."""
    since: str | None
    """When the hour or the day begins: ISO 8601; null: the whole period."""
    running_s: int
    """For how long it was seen to run; of several domains, the sum."""
    requests_total: int
    """Requests, policies and queries of its guest."""
    refused_total: int
    """Of these, answered NACK."""
    late_total: int
    """Of these, not answered because the guest had stopped waiting."""
    dropped_total: int
    """Of these, not answered because the guest does not read."""
    mean_khz: int | None
    """Mean frequency of its threads while they ran; null: unknown."""
    frequencies: list[ReportFrequency]
    """For how long they ran at which frequency."""
    has_energy: bool
    """Whether energy was accounted for; else the energies are 0."""
    kwh: float
    """Energy of its threads."""
    kwh_error: float
    """Standard deviation of `kwh`."""
    saved_kwh: float
    """What its vCPUs would have drawn more at their highest frequency."""
    saved_kwh_error: float
    """Standard deviation of `saved_kwh`."""
    saved_percent: float | None
    """`saved_kwh` relative to what it would have used without; null: it used
    nothing."""


class ReportHost(TypedDict):
    """The host in the whole period."""

    recorded_s: int
    """How much of the period was recorded."""
    source: str | None
    """Where energies come from: `powercap`, `hwmon`, `perf` or `modelled`; null: they
    were not accounted for."""
    calibrated: bool
    """Whether the static power was measured on this host."""
    holes: int
    """Number of times without usable meters."""
    kwh: float
    """Energy of all packages."""
    static_kwh: float
    """Of it, what they draw with all cores idle."""
    saved_kwh: float
    """What all domains saved."""
    saved_kwh_error: float
    """Standard deviation of `saved_kwh`."""
    saved_percent: float | None
    """`saved_kwh` relative to what the host would have used without."""
    saved_money: float | None
    """Money for `saved_kwh` at the price that is configured now; null: none is."""
    currency: str
    """Of `saved_money`."""
    saved_co2_kg: float | None
    """CO2 for `saved_kwh`, in kilograms; null: not configured."""


class ReportHold(TypedDict):
    """What kept a domain from the frequencies that it requests."""

    domain: str
    """Name of the domain."""
    uuid: str
    """Its UUID."""
    cause: str
    """`no-vote`, `floating`, `lower-limit`, `neighbor`, `host`, `override`, `observe`
    or `upper-limit`."""
    text: str
    """The same, as a sentence."""
    vcpu_h: float
    """Hours, times vCPUs."""
    kwh: float
    """Energy that it cost at most, estimated by a power curve; 0 for `upper-limit`,
    which costs performance."""


class ReportRefusal(TypedDict):
    """Requests that were refused for one reason."""

    domain: str
    """Name of the domain."""
    uuid: str
    """Its UUID."""
    reason: str
    """`floating`, `no-vcpu`, ..."""
    requests: int
    """How many."""


class Report(TypedDict):
    """What domains did, from the daemon's history."""

    since: str
    """Beginning of the period: ISO 8601."""
    until: str
    """Its end."""
    by: str
    """What a row is: `domain`, `hour` or `day`."""
    what_if: bool
    """Whether each request counts as if it had been granted."""
    host: ReportHost
    """The host in the whole period."""
    rows: list[ReportRow]
    """By domain: what saved most first; else by time."""
    holds: list[ReportHold]
    """What kept domains from the frequencies that they request, the most costly
    first."""
    refusals: list[ReportRefusal]
    """What was refused, the most first."""
    events: dict[str, int]
    """Number of events by kind, of all domains."""
    problem: str | None
    """Why the daemon does not write its history; null: it does."""


class Advice(TypedDict):
    """A change that would save energy."""

    domain: str
    """Name of the domain that it is about."""
    uuid: str
    """Its UUID."""
    commands: list[str]
    """What to execute, or, after a `#`, what to configure. Words in capitals have to be
    replaced."""
    reason: str
    """Why."""
    saves_kwh_per_day: float
    """Expected saving in a day."""
    error_kwh_per_day: float
    """Standard deviation of that."""
    risk: str
    """What may become worse, and what was counted that bears on it."""


class AdviceList(TypedDict):
    """Advice from a period of the history."""

    since: str
    """Beginning of the period: ISO 8601."""
    until: str
    """Its end."""
    days: float
    """How much of that time is recorded."""
    advice: list[Advice]
    """What saves most first."""
