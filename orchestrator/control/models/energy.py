# SPDX-License-Identifier: Apache-2.0
"""Energy: what the host and its domains draw, and what lower frequencies save."""

from __future__ import annotations

from orchestrator.control.models.document import Count, CpuNumber, Document, Khz
from orchestrator.energy.residency import Activity, MeterSource

__all__ = [
    "CalibrationRequest",
    "CurvePoint",
    "DomainEnergy",
    "Energy",
    "EnergyOfDomain",
    "EnergyPackage",
    "HostEnergy",
    "PowerCurve",
    "SavedValue",
    "StaticPower",
]


class SavedValue(Document):
    """What was saved, in other units."""

    kwh: float
    """Kilowatt-hours."""
    money: float | None = None
    """In the configured currency; null without `energy.price_per_kwh`."""
    currency: str | None = None
    """Currency of `money`; null without it."""
    co2_g: float | None = None
    """Grams of CO2; null without `energy.co2_g_per_kwh`."""


class DomainEnergy(Document):
    """Energy of a domain's threads at the processors, without any static energy.

    Watts are means of the last ten seconds; totals begin when the daemon starts.
    """

    watts: float
    """Power."""
    error_watts: float
    """Uncertainty of the power: one standard deviation, either way."""
    saved_watts: float
    """What its vCPUs would draw more at their highest permitted step."""
    saved_error_watts: float
    """Uncertainty of `saved_watts`."""
    possible_watts: float
    """What would be saved if all of its votes were granted; in mode `observe` they are
    not."""
    joules_total: float
    """Energy."""
    error_joules_total: float
    """Uncertainty of `joules_total`."""
    saved_joules_total: float
    """Energy saved against its highest permitted steps."""
    saved_error_joules_total: float
    """Uncertainty of `saved_joules_total`."""
    possible_joules_total: float
    """Energy that would have been saved if all of its votes had been granted."""
    saved: SavedValue
    """`saved_joules_total` in other units."""


class EnergyOfDomain(DomainEnergy):
    """The energy of one domain."""

    domain: str
    """Name of the domain."""
    uuid: str
    """UUID of the domain."""


class HostEnergy(Document):
    """Energy of the host's processors.

    Measured = static + idle + host + domains. Watts are means of the last ten seconds;
    totals begin when the daemon starts.
    """

    source: MeterSource
    """Where the figures come from; `modelled`: no meter, but published figures of the
    processor's class."""
    modelled: bool
    """Whether no meter contributed in the last ten seconds."""
    hole: str | None = None
    """Why the meters' values could not be used in the last ten seconds; null: they
    could."""
    holes_total: Count = 0
    """Seconds in which they could not."""
    measured_watts: float
    """All processors together."""
    static_watts: float
    """What they draw with all cores idle."""
    static_calibrated: bool
    """Whether `static_watts` was measured on this host (`vmpower energy calibrate`);
    else it is that of the processor's class."""
    idle_watts: float
    """Cores that sleep."""
    host_watts: float
    """Threads of no domain."""
    domains_watts: float
    """All domains together."""
    error_watts: float
    """Uncertainty of `domains_watts`."""
    dram_watts: float | None = None
    """Memory, which is not part of the processors; null: no meter."""
    psys_watts: float | None = None
    """The platform, processors and memory included; null: no meter."""
    saved_watts: float
    """What all domains save together."""
    saved_error_watts: float
    """Uncertainty of `saved_watts`."""
    possible_watts: float
    """What all domains would save if all votes were granted."""
    measured_joules_total: float
    """All processors together."""
    static_joules_total: float
    """Of it, static."""
    idle_joules_total: float
    """Of it, cores that slept."""
    host_joules_total: float
    """Of it, threads of no domain."""
    domains_joules_total: float
    """Of it, threads of domains, also of those that are gone."""
    saved_joules_total: float
    """Energy that all domains saved, also those that are gone."""
    saved_error_joules_total: float
    """Uncertainty of `saved_joules_total`."""
    possible_joules_total: float
    """What would have been saved if all votes had been granted."""
    saved: SavedValue
    """`saved_joules_total` in other units."""
    measured_history_watts: tuple[float, ...] = ()
    """Power in each of the last sixty seconds, the latest last."""
    saved_history_watts: tuple[float, ...] = ()
    """Saved power in each of them."""


class CurvePoint(Document):
    """The power of a busy core at a frequency."""

    khz: Khz
    """Frequency in kHz."""
    watts: float
    """Power."""


class PowerCurve(Document):
    """The power of a busy core by its frequency, as learnt; straight between points."""

    activity: Activity
    """What the core's thread does: `poll`, or `other`."""
    points: tuple[CurvePoint, ...]
    """Lowest frequency first."""


class EnergyPackage(Document):
    """What the accounting knows of one processor."""

    package: CpuNumber
    """Number of the physical package (socket)."""
    measured_joules_total: float | None
    """What its meter counted since the daemon started, holes left out; null: it has no
    meter."""
    measured_seconds_total: float
    """How long it took to draw that. What was drawn since the last sample is in neither
    of them."""
    cores: Count
    """Online cores."""
    static_watts: float
    """Static power in use."""
    static_calibrated: bool
    """Whether that was measured here."""
    residual_watts: float
    """Spread of what the meter counts around what the curves predict."""
    observations_total: Count
    """Seconds that the curves were learnt from."""
    ceiling_khz: Khz | None = None
    """Frequency that the hardware reaches at present, in kHz, if it is lower than
    granted, as by heat; null: all that is granted."""
    curves: tuple[PowerCurve, ...]
    """One for each activity."""


class Energy(Document):
    """The accounting of energy."""

    enabled: bool
    """Whether it is switched on (`[energy] enabled`)."""
    host: HostEnergy | None
    """The host; null until two samples were taken."""
    domains: tuple[EnergyOfDomain, ...] = ()
    """Running domains, those that save most first."""
    packages: tuple[EnergyPackage, ...] = ()
    """Processors."""
    model: str = ""
    """Model name of the processors."""
    profile: str = ""
    """Class of processors whose published figures are used where nothing was
    measured."""


class StaticPower(Document):
    """The static power of one processor."""

    package: CpuNumber
    """Number of the physical package (socket)."""
    watts: float
    """What it draws with all cores idle, without what idle cores draw."""


class CalibrationRequest(Document):
    """What was measured on this host; a part that is empty is kept as it was."""

    static: tuple[StaticPower, ...]
    """Static powers."""
    curve: tuple[CurvePoint, ...]
    """Power of a busy core, lowest frequency first."""
