# SPDX-License-Identifier: Apache-2.0
"""One sample of energy: reads meters, run times and frequencies, and accounts them.

The kernel's measured frequencies cost an interrupt of the CPU each, so that only an
eighth of the clock groups is read in each sample.
"""

from __future__ import annotations

import contextlib
import logging
import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING, NamedTuple

from orchestrator.energy.attribution import Attribution, Calibration
from orchestrator.energy.calibration import read_calibration, write_calibration
from orchestrator.energy.grants import GroupSample
from orchestrator.energy.meters import Meters
from orchestrator.energy.observer import Observer, Sample
from orchestrator.energy.profiles import GENERIC, find_model_name, find_profile
from orchestrator.energy.residency import MeterSource
from orchestrator.energy.state import EnergyState, PackageState
from orchestrator.errors import VmpowerError
from orchestrator.power.sysfs import policy_path
from orchestrator.sampling.energy_meters import HostMeters, find_meters
from orchestrator.sampling.qemu_times import PROC, IdleTime, QemuTimes
from orchestrator.system.durable_file import read_own, replace_durably

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from orchestrator.energy.grants import GrantTimes
    from orchestrator.energy.meters import MeterInterval
    from orchestrator.energy.observer import HostPlan
    from orchestrator.energy.profiles import Profile
    from orchestrator.energy.residency import EnergyInterval
    from orchestrator.power.sysfs import CpuTree
    from orchestrator.values.domain import DomainId

logger = logging.getLogger(__name__)

_PART = 8
"""The measured frequency of each clock group is read in one of so many samples."""
_NO_WRAP_S = 3_600.0
_MAX_CALIBRATION_BYTES = 65_536


class GroupGrant(NamedTuple):
    """The grant of a clock group that is taken."""

    khz: int | None
    """None: the kernel refused it."""
    times: GrantTimes | None
    """For how long each step was granted; None: unknown."""


class EnergyJob(NamedTuple):
    """What the loop knows, for one sample."""

    plan: HostPlan | None
    """None: as before."""
    names: Mapping[DomainId, str]
    """Of running domains; empty with `plan` None."""
    pcpu_packages: Mapping[int, int]
    groups: tuple[int, ...]
    """The clock groups."""
    grants: Mapping[int, GroupGrant]
    """Of those that are taken."""
    grants_ns: int
    """When (monotonic) they were read."""
    votes_khz: Mapping[tuple[DomainId, int], int]


NOT_TAKEN = GroupGrant(None, None)


class EnergyResult(NamedTuple):
    """What follows from a sample."""

    interval: EnergyInterval
    state: EnergyState
    problem: str
    """Of the meters; empty: none."""
    most_s: float
    """After which the next sample would be a hole: a meter may have wrapped."""


class EnergySampler:
    """Reads and computes.

    Synchronization: one thread, except for `save`.
    """

    def __init__(
        self,
        tree: CpuTree,
        find_qemu: Callable[[str], int | None],
        *,
        proc: Path = PROC,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Open nothing yet.

        Args:
            tree: the CPUs, and in its root the meters.
            find_qemu: returns the process of a domain's name.
            proc: /proc, or an imitation.
            clock: returns monotonic seconds.
        """
        self._tree = tree
        self._find_qemu = find_qemu
        self._proc = proc
        self._clock = clock
        self._times = QemuTimes(proc)
        self._idle = IdleTime(proc)
        self._meters: HostMeters | None = None
        self._readings: Meters | None = None
        self._observer: Observer | None = None
        self._attribution: Attribution | None = None
        self._calibration: Calibration | None = None
        self._profile: Profile | None = None
        self._model = ""
        """Of the processors; empty: unknown."""
        self._processes: dict[DomainId, tuple[int, int]] = {}
        self._measured_khz: dict[int, int] = {}
        self._drawn: dict[int, tuple[float, float]] = {}
        """Joules and seconds by package."""
        self._turn = 0
        self._last_grants: Mapping[int, GroupGrant] = {}

    def load(self, file: Path) -> None:
        """Read the calibration; without one, the class of the processors counts."""
        self._identify()
        try:
            data = read_own(file, _MAX_CALIBRATION_BYTES)
            self._calibration = read_calibration(data, self._model)
        except FileNotFoundError:
            self._calibration = None
        except (OSError, VmpowerError) as error:
            logger.warning("the calibration of energy is not used: %s", error)
        self._attribution = None

    def save(self, file: Path, calibration: Calibration) -> None:
        """Write a calibration; a part that is empty is kept as it was."""
        known = self._calibration
        if known is not None:
            calibration = Calibration(
                static_w={**known.static_w, **calibration.static_w},
                curve=calibration.curve or known.curve,
            )
        file.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
        replace_durably(file, write_calibration(calibration, self._model))

    def _identify(self) -> None:
        """Find out which processors the host has, once: the file is long."""
        if self._profile is None:
            with contextlib.suppress(OSError):
                cpuinfo = (self._proc / "cpuinfo").read_text(errors="replace")
                self._profile = find_profile(cpuinfo)
                self._model = find_model_name(cpuinfo)

    def sample(self, job: EnergyJob) -> EnergyResult | None:
        """Read everything; return what happened since the last sample."""
        if job.plan is not None:
            self._replan(job.plan, job)
        observer = self._observer
        if observer is None:
            return None
        self._measure(observer, job)
        at_s = self._clock()
        meters = None
        if self._meters is not None and self._readings is not None:
            meters = self._readings.advance(self._meters.read(at_s))
            self._count(meters)
        sample = Sample(
            at_s=at_s,
            wall_s=datetime.now(UTC).timestamp(),
            grants_ns=job.grants_ns,
            groups={
                number: GroupSample(
                    *job.grants.get(number, NOT_TAKEN), self._measured_khz.get(number)
                )
                for number in job.groups
            },
            times=self._times.read(self._processes),
            votes_khz=job.votes_khz,
            idle_s=self._idle.read(),
        )
        source = self._meters.source if self._meters else MeterSource.MODELLED
        seen = observer.observe(sample, meters, source)
        if seen is None:
            return None
        attribution = self._attribute_with(observer)
        problems = filter(None, (meters.hole, *meters.doubts)) if meters else ()
        interval = attribution.attribute(seen)
        state = self._state(attribution, observer, source)
        most_s = self._readings.most_s if self._readings else _NO_WRAP_S
        return EnergyResult(interval, state, "; ".join(problems), most_s)

    def _count(self, meters: MeterInterval | None) -> None:
        """Add up what each package has drawn."""
        if meters is None:
            return
        for number, joules in meters.packages.items():
            counted_j, counted_s = self._drawn.get(number, (0.0, 0.0))
            counted = counted_j + joules, counted_s + meters.duration_s
            self._drawn[number] = counted

    def _replan(self, plan: HostPlan, job: EnergyJob) -> None:
        if self._observer is None:
            self._observer = Observer(plan)
            self._meters = find_meters(self._tree.root, job.pcpu_packages)
            self._readings = Meters(self._meters.zones) if self._meters else None
        elif plan != self._observer.plan:
            if plan.packages != self._observer.plan.packages:
                self._attribution = None
            self._observer.replan(plan)
        found = {uuid: self._find_qemu(name) for uuid, name in job.names.items()}
        self._processes = {
            uuid: (pid, len(plan.domains[uuid].vcpus))
            for uuid, pid in found.items()
            if pid is not None
        }

    def _attribute_with(self, observer: Observer) -> Attribution:
        if self._attribution is None:
            self._attribution = Attribution(
                observer.plan.packages, self._profile or GENERIC, self._calibration
            )
        return self._attribution

    def _measure(self, observer: Observer, job: EnergyJob) -> None:
        """Read the measured frequency of some clock groups."""
        every = _PART if self._measured_khz else 1
        numbers = sorted(job.groups)[self._turn % every :: every]
        self._turn = (self._turn + 1) % _PART
        for number in numbers:
            khz = self._tree.read_khz(policy_path(number, "scaling_cur_freq"))
            if khz is None:
                self._measured_khz.pop(number, None)
                continue
            self._measured_khz[number] = khz
            grant = job.grants.get(number, NOT_TAKEN)
            is_steady = self._last_grants.get(number) == grant
            if grant.khz is not None and is_steady and number in observer.busy_groups:
                observer.check_ceiling(number, grant.khz, khz)
        self._last_grants = job.grants

    def _state(
        self, attribution: Attribution, observer: Observer, source: MeterSource
    ) -> EnergyState:
        return EnergyState(
            profile=attribution.profile.name,
            model=self._model,
            source=source,
            packages={
                number: PackageState(
                    cores=model.package.cores,
                    static_w=model.static_w,
                    is_calibrated=model.is_calibrated,
                    curves=model.fit.curves,
                    residual_w=model.residual_w,
                    observations=model.fit.observations,
                    ceiling_khz=observer.ceilings.get(number),
                    measured=self._drawn.get(number),
                )
                for number, model in attribution.models.items()
            },
        )

    def close(self) -> None:
        """Close everything; the next sample begins again."""
        self._times.close()
        if self._meters is not None:
            self._meters.close()
        self._meters = self._readings = self._observer = None
