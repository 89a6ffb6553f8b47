# SPDX-License-Identifier: Apache-2.0
"""Who drew what of a package's energy in an interval, and what was saved.

Theory of operation: the static power comes from a calibration, or from the class of the
processor; the power of idle cores from the class; that of busy ones from the learnt
curves (`curves`). What these predict for domains, for the host's own threads and for
idle cores is multiplied by one factor, so that together with the static energy it is
what the meter counted. Without a meter, the predictions are the result.

Saved energy compares a core-second at the frequency that it had with the highest step
that the vCPU may have. A vCPU that polls would have run for the same time; another one
would have done its work in less, and its core would have slept for the rest.
"""

from __future__ import annotations

import math
from collections import defaultdict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

from orchestrator.energy.curves import CurveFit, choose_points
from orchestrator.energy.profiles import IDLE_CORE_W, PROFILE_ERROR
from orchestrator.energy.residency import (
    Activity,
    DomainEnergy,
    EnergyInterval,
    HostEnergy,
    MeterSource,
    Slot,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

    from orchestrator.energy.curves import Curve
    from orchestrator.energy.meters import MeterInterval
    from orchestrator.energy.profiles import Profile
    from orchestrator.energy.residency import Residency
    from orchestrator.values.domain import DomainId

SOLVE_EVERY = 60
"""Observations; a solution takes some milliseconds."""
SOLVE_FIRST = (5, 10, 20, 40)
_CALIBRATED_ERROR = 0.05
"""Uncertainty of a calibrated static power."""
_LEARNT_AFTER = 20
"""Observations after which half of the uncertainty of a published curve is left."""
_RECENT = 0.02
"""Weight of an interval in the spread of the residuals."""
_FACTORS = (0.2, 5.0)
"""The least and the most that a prediction is corrected for what was saved; beyond, the
meter counts something else."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Package:
    """A processor, as its energy depends on it."""

    number: int
    """physical_package_id."""
    cores: int
    """Online cores."""
    groups: frozenset[int]
    """Its clock groups."""
    steps_khz: tuple[int, ...]
    """All steps of its clock groups; at least one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Calibration:
    """What was measured on this host; watts."""

    static_w: Mapping[int, float]
    """By package: with all cores idle, without what idle cores are known to draw."""
    curve: Curve | None = None
    """Power of a busy core; None: not measured."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Observation:
    """What happened on a host in an interval."""

    start: float
    """Wall time: seconds since the epoch, UTC."""
    duration_s: float
    residency: Mapping[DomainId, Residency]
    host_core_s: Mapping[int, float] = field(default_factory=dict)
    """Core-seconds of threads of no domain, by package."""
    host_khz: int
    """At which they ran, on average."""
    meters: MeterInterval | None = None
    """None: the host has no meters."""
    source: MeterSource = MeterSource.MODELLED
    by_core: Mapping[DomainId, float] = field(default_factory=dict)
    """Joules of domains' threads by the meters of single cores: they replace the
    curves for threads that are pinned to one core."""
    run_s: Mapping[DomainId, float] = field(default_factory=dict)
    """CPU-seconds of domains' threads."""
    is_exact: bool = True
    """Whether the frequencies are known for the whole interval; else nothing is learnt
    from it."""


class Power(NamedTuple):
    """Of a busy core; watts."""

    watts: float
    error_w: float
    """One standard deviation."""


@dataclass(slots=True)
class _Prediction:
    """What one package is expected to draw; joules."""

    domains: dict[DomainId, float]
    busy: dict[tuple[Activity, int], float]
    host: float
    idle: float

    def total(self) -> float:
        return sum(self.domains.values()) + self.host + self.idle


class PackageModel:
    """The static power, the curves and the errors of one package.

    Synchronization: one thread.
    """

    def __init__(
        self, package: Package, profile: Profile, calibration: Calibration | None
    ) -> None:
        self.package = package
        steps = package.steps_khz
        measured = calibration.curve if calibration else None
        self._prior_error = _CALIBRATED_ERROR if measured else PROFILE_ERROR
        self.fit = CurveFit(
            choose_points(steps), measured or profile.curve(min(steps), max(steps))
        )
        known = calibration.static_w.get(package.number) if calibration else None
        self.is_calibrated = known is not None
        self.static_w = profile.static_w if known is None else known
        self._square_w = 0.0
        self._dynamic_w = 0.0
        self._powers: dict[tuple[Activity, int], Power] = {}

    @property
    def residual_w(self) -> float:
        """Spread (standard deviation) of what the meter counts around predictions."""
        return math.sqrt(self._square_w)

    def learn(self, prediction: _Prediction, dynamic: float, duration_s: float) -> None:
        """Compare a prediction with what was drawn, and correct the curves."""
        residual_w = (dynamic - prediction.total()) / duration_s
        weight = max(_RECENT, 1 / (1 + self.fit.observations))
        self._square_w += weight * (residual_w**2 - self._square_w)
        self._dynamic_w += weight * (dynamic / duration_s - self._dynamic_w)
        self.fit.observe(prediction.busy, dynamic - prediction.idle)
        count = self.fit.observations
        if count in SOLVE_FIRST or count % SOLVE_EVERY == 0:
            self.fit.solve()
            self._powers.clear()

    def power(self, activity: Activity, khz: int) -> Power:
        """Return the power of a busy core, and its uncertainty."""
        found = self._powers.get((activity, khz))
        if found is None:
            found = self._powers[activity, khz] = Power(
                self.fit.curves[activity].at(khz),
                self.fit.uncertainty(activity, khz, self.residual_w, self._prior_error),
            )
        return found

    def relative_error(self, *, is_modelled: bool) -> float:
        """Return the uncertainty of a level: of what a domain drew."""
        learning = self._prior_error / math.sqrt(
            1 + self.fit.observations / _LEARNT_AFTER
        )
        if is_modelled or not self._dynamic_w:
            return math.hypot(learning, self._prior_error)
        static = _CALIBRATED_ERROR if self.is_calibrated else PROFILE_ERROR
        return math.hypot(
            learning,
            self.residual_w / self._dynamic_w,
            static * self.static_w / self._dynamic_w,
        )


class Attribution:
    """Attributes the energy of all packages of a host.

    Synchronization: one thread.
    """

    def __init__(
        self,
        packages: Mapping[int, Package],
        profile: Profile,
        calibration: Calibration | None = None,
    ) -> None:
        self.models = {
            number: PackageModel(package, profile, calibration)
            for number, package in packages.items()
        }
        self.profile = profile
        cores = sum(package.cores for package in packages.values())
        self._floating = {
            number: package.cores / cores for number, package in packages.items()
        }
        self._package_of = {
            group: number
            for number, package in packages.items()
            for group in package.groups
        }

    def attribute(self, seen: Observation) -> EnergyInterval:
        """Attribute an interval's energy, and learn from it."""
        total = _Total(seen)
        for number, model in self.models.items():
            parts = {
                uuid: self._part(residency, number)
                for uuid, residency in seen.residency.items()
            }
            _attribute_package(seen, model, parts, total)
        return total.interval(
            is_calibrated=all(model.is_calibrated for model in self.models.values())
        )

    def _part(self, residency: Residency, number: int) -> Residency:
        """Return the part of a residency that is on a package."""
        part = {}
        for slot, core_s in residency.items():
            if slot.group is None:
                part[slot] = core_s * self._floating[number]
            elif self._package_of.get(slot.group, -1) == number:
                part[slot] = core_s
        return part


class _Total:
    """Sums the packages' results."""

    def __init__(self, seen: Observation) -> None:
        self._seen = seen
        self.joules: dict[DomainId, float] = defaultdict(float)
        self.errors: dict[DomainId, float] = defaultdict(float)
        self.saved: dict[DomainId, float] = defaultdict(float)
        self.saved_errors: dict[DomainId, float] = defaultdict(float)
        self.possible: dict[DomainId, float] = defaultdict(float)
        self.measured = self.static = self.idle = self.host = 0.0

    def interval(self, *, is_calibrated: bool) -> EnergyInterval:
        seen, meters = self._seen, self._seen.meters
        return EnergyInterval(
            start=seen.start,
            duration_s=seen.duration_s,
            domains={
                uuid: DomainEnergy(
                    joules=self.joules[uuid],
                    error_joules=self.errors[uuid],
                    saved_joules=self.saved[uuid],
                    saved_error_joules=self.saved_errors[uuid],
                    possible_joules=self.possible[uuid],
                    run_s=seen.run_s.get(uuid, 0.0),
                    residency=residency,
                )
                for uuid, residency in seen.residency.items()
            },
            host=HostEnergy(
                source=seen.source,
                measured_joules=self.measured,
                static_joules=self.static,
                idle_joules=self.idle,
                host_joules=self.host,
                error_joules=sum(self.errors.values()),
                saved_joules=sum(self.saved.values()),
                saved_error_joules=sum(self.saved_errors.values()),
                possible_joules=sum(self.possible.values()),
                dram_joules=meters.dram_joules if meters else None,
                psys_joules=meters.psys_joules if meters else None,
                is_static_calibrated=is_calibrated,
                hole=meters.hole if meters else "",
            ),
        )


def _attribute_package(
    seen: Observation,
    model: PackageModel,
    parts: Mapping[DomainId, Residency],
    total: _Total,
) -> None:
    prediction = _predict(seen, model, parts)
    expected = prediction.total()
    measured = _measured(seen, model)
    static = model.static_w * seen.duration_s
    factor = 1.0
    if measured is not None:
        # A package never draws less than its static power: if it seems to, the
        # calibration is of another one, and what is measured is right.
        static = min(static, measured) if expected else measured
        factor = (measured - static) / expected if expected else 0.0
        if seen.is_exact:
            model.learn(prediction, measured - static, seen.duration_s)
    total.measured += static + factor * expected
    total.static += static
    total.idle += factor * prediction.idle
    total.host += factor * prediction.host
    level = model.relative_error(is_modelled=measured is None)
    for uuid, joules in prediction.domains.items():
        total.joules[uuid] += factor * joules
        total.errors[uuid] += factor * joules * level
    least, most = _FACTORS
    factor = min(max(factor, least), most)
    for uuid, part in parts.items():
        saved = compare(part, model)
        total.saved[uuid] += factor * saved.joules
        total.saved_errors[uuid] += factor * saved.error
        total.possible[uuid] += factor * saved.possible


def _measured(seen: Observation, model: PackageModel) -> float | None:
    """Return what the meter of a package counted; None: it did not, or not reliably."""
    meters = seen.meters
    return None if meters is None else meters.packages.get(model.package.number)


def _predict(
    seen: Observation, model: PackageModel, parts: Mapping[DomainId, Residency]
) -> _Prediction:
    number = model.package.number
    domains: dict[DomainId, float] = {}
    busy: dict[tuple[Activity, int], float] = defaultdict(float)
    for uuid, part in parts.items():
        joules = 0.0
        for slot, core_s in part.items():
            busy[slot.activity, slot.khz] += core_s
            if uuid not in seen.by_core or slot.group is None:
                joules += core_s * model.power(slot.activity, slot.khz).watts
        domains[uuid] = joules
    if seen.by_core:
        _use_core_meters(seen, parts, domains)
    host_core_s = seen.host_core_s.get(number, 0.0)
    busy[Activity.OTHER, seen.host_khz] += host_core_s
    idle_s = model.package.cores * seen.duration_s - sum(busy.values())
    return _Prediction(
        domains=domains,
        busy=busy,
        host=host_core_s * model.power(Activity.OTHER, seen.host_khz).watts,
        idle=IDLE_CORE_W * max(0.0, idle_s),
    )


def _use_core_meters(
    seen: Observation,
    parts: Mapping[DomainId, Residency],
    domains: dict[DomainId, float],
) -> None:
    """Add what the meters of cores counted, by the part of a domain on a package."""
    for uuid, joules in seen.by_core.items():
        everywhere = _pinned_s(seen.residency.get(uuid, {}))
        if everywhere and uuid in domains:
            domains[uuid] += joules * _pinned_s(parts[uuid]) / everywhere


def _pinned_s(residency: Residency) -> float:
    return sum(core_s for slot, core_s in residency.items() if slot.group is not None)


class Saved(NamedTuple):
    """What a residency saved; joules."""

    joules: float
    error: float
    """One standard deviation."""
    possible: float
    """What it would have saved with all votes granted."""


def compare(residency: Residency, model: PackageModel) -> Saved:
    """Compare a residency with the highest step that each vCPU may have."""
    saved = error = possible = 0.0
    for slot, core_s in residency.items():
        highest = slot.highest_khz
        if not slot.khz or slot.khz == highest == slot.requested_khz:
            continue
        at_highest = _power_for(slot, highest, model)
        if slot.khz != highest:
            now = _power_for(slot, slot.khz, model)
            saved += core_s * (at_highest.watts - now.watts)
            error += core_s * math.hypot(at_highest.error_w, now.error_w)
        requested = _power_for(slot, slot.requested_khz, model)
        possible += core_s * (at_highest.watts - requested.watts)
    return Saved(saved, error, possible)


def _power_for(slot: Slot, khz: int, model: PackageModel) -> Power:
    """Return the power during a slot if it had run at another frequency.

    A thread that polls runs for the same time. Another one does the same work, and its
    core sleeps for the rest of the time, or needs more time.
    """
    found = model.power(slot.activity, khz)
    if slot.activity is Activity.POLL or khz == slot.khz:
        return found
    share = slot.khz / khz
    watts = share * found.watts + (1 - share) * IDLE_CORE_W
    return Power(watts, share * found.error_w)
