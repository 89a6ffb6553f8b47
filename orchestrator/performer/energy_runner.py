# SPDX-License-Identifier: Apache-2.0
"""Samples energy meters and run times, and keeps what follows.

Theory of operation: the loop collects what it knows (grants, votes, what runs where),
and a thread reads counters of the host, which may block, and computes. So nothing waits
for a meter, and a sample that takes longer than a second is followed by a later one.
A domain is planned when it has changed, and all are each half minute, because limits
may have.

A sample is taken each second while frequencies change, requests are only observed, or a
client reads the figures; else every five seconds: for how long each step was granted is
known exactly, so that nothing is gained.

Synchronization: the asyncio thread only, except for `_work`, which runs in the thread.
"""

from __future__ import annotations

import asyncio
import contextlib
import math
import time
from functools import partial
from typing import TYPE_CHECKING, Protocol

from orchestrator import events
from orchestrator.controller import energy as energy_plans
from orchestrator.energy.ledger import Ledger, Prices
from orchestrator.performer.call_pool import CallPool
from orchestrator.performer.energy_sampler import EnergyJob, EnergySampler
from orchestrator.performer.grant_reader import GrantReader, Grants
from orchestrator.sampling.qemu_times import PROC
from orchestrator.system.ticks import next_tick

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from orchestrator.controller.inventory import Inventory
    from orchestrator.energy.attribution import Calibration
    from orchestrator.energy.observer import DomainPlan, HostPlan
    from orchestrator.energy.residency import EnergyInterval
    from orchestrator.energy.state import EnergyState
    from orchestrator.performer.energy_sampler import EnergyResult, GroupGrant
    from orchestrator.power.sysfs import CpuTree
    from orchestrator.values.domain import DomainId

_REPLAN_AFTER = 30
_STEADY = 5
"""Intervals from one sample to the next while nothing changes."""
_READ_LATELY = 15
"""Intervals during which a client may read again."""
_NEVER_S = -math.inf


class GrantTable(Grants, Protocol):
    """What the accounting needs of the monitor."""

    def observed_votes(self) -> Mapping[tuple[DomainId, int], int]:
        """Return what guests would vote for that are only observed."""
        ...


class EnergyRunner:
    """Accounts the host's energy while the configuration has it enabled."""

    interval_s = 1.0
    """From one sample to the next while something changes."""

    def __init__(
        self,
        *,
        inventory: Inventory,
        monitor: GrantTable,
        tree: CpuTree,
        find_qemu: Callable[[str], int | None],
        react: Callable[[events.Event], None],
        proc: Path = PROC,
    ) -> None:
        """Account nothing yet.

        Args:
            inventory: what exists.
            monitor: knows grants and votes.
            tree: the CPUs, and in its root the meters.
            find_qemu: returns the process of a domain's name; called in a thread.
            react: receives events.
            proc: /proc, or an imitation.
        """
        self.ledger = Ledger()
        self.state: EnergyState | None = None
        """None until the first sample."""
        self.listeners: list[Callable[[EnergyInterval], None]] = []
        """Called with each interval."""
        self._inventory = inventory
        self._monitor = monitor
        self._react = react
        self._loop = asyncio.get_running_loop()
        self._pool: CallPool | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._planned_s = self._read_s = _NEVER_S
        """When all domains were last planned, and when a client read, by the loop's
        clock."""
        self._is_sampling = False
        """Whether the thread is busy with a sample, or has not begun."""
        self._running: Mapping[DomainId, object] = {}
        self._plans: Mapping[DomainId, DomainPlan] = {}
        """Of those, as they were planned last."""
        self._last: EnergyJob | None = None
        self._most_s = 0.0
        """From one sample to the next: meters wrap."""
        self._problem = ""
        self._grants = GrantReader(monitor)
        self._sampler = EnergySampler(tree, find_qemu, proc=proc)

    @property
    def prices(self) -> Prices:
        """What a kilowatt-hour costs."""
        config = self._inventory.config.energy
        return Prices(config.price_per_kwh, config.currency, config.co2_g_per_kwh)

    @property
    def is_enabled(self) -> bool:
        """Whether energy is accounted."""
        return self._inventory.config.energy.enabled

    @property
    def is_running(self) -> bool:
        """Whether samples are taken."""
        return self._timer is not None

    def update(self) -> None:
        """Start or stop, as configured."""
        if self.is_enabled and self._timer is None:
            self._planned_s = _NEVER_S
            self._last = None
            self._pool = self._pool or CallPool("energy", size=1)
            file = self._inventory.config.energy.calibration_file
            self._pool.submit("energy", "load", partial(self._sampler.load, file))
            self._tick()
        elif not self.is_enabled:
            self.stop()

    def stop(self) -> None:
        """Account nothing any more, and close everything."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
            if self._pool is not None:
                self._pool.submit("energy", "close", self._sampler.close)

    async def calibrate(self, measured: Calibration) -> None:
        """Use what was measured from now on, and keep it over restarts.

        Args:
            measured: a part that is empty is kept as it was.

        Raises:
            OSError: it cannot be written.
        """
        file = self._inventory.config.energy.calibration_file
        await asyncio.to_thread(self._sampler.save, file, measured)
        if self._pool is not None:
            self._pool.submit("energy", "load", partial(self._sampler.load, file))

    def note_reader(self) -> None:
        """Note that a client reads the figures: it may soon read again."""
        self._read_s = self._loop.time()
        # A timer that is due may not have fired yet.
        if (
            self._timer is not None
            and self._timer.when() > self._read_s + self.interval_s
        ):
            self._tick_after(1)

    def _tick_after(self, intervals: int) -> None:
        if self._timer is not None:
            self._timer.cancel()
        when_s = next_tick(self._loop.time(), intervals * self.interval_s)
        self._timer = self._loop.call_at(when_s, self._tick)

    def _tick(self) -> None:
        if self._pool is None or self._is_sampling:
            self._tick_after(1)
            return
        grants = self._grants.read(energy_plans.list_taken(self._inventory))
        last = self._last
        self._last = job = self._make_job(self._find_change(), grants)
        most = min(_STEADY, int(self._most_s / self.interval_s))
        self._tick_after(most if most and self._is_steady(last, job) else 1)
        self._is_sampling = True
        self._pool.submit("energy", "sample", partial(self._work, job))

    def _is_steady(self, last: EnergyJob | None, job: EnergyJob) -> bool:
        is_read = self._is_within(_READ_LATELY, self._read_s)
        is_same = last is not None and last.grants == job.grants
        return is_same and not is_read and not job.votes_khz

    def _is_within(self, intervals: int, since_s: float) -> bool:
        return self._loop.time() - since_s < intervals * self.interval_s

    def _find_change(self) -> HostPlan | None:
        """Return what runs where if that has changed, or may have."""
        running = energy_plans.running(self._inventory)
        known = {}
        if self._is_within(_REPLAN_AFTER, self._planned_s):
            known = {
                uuid: plan
                for uuid, plan in self._plans.items()
                if running.get(uuid) is self._running[uuid]
            }
            if len(known) == len(running) == len(self._running):
                return None
        else:
            self._planned_s = self._loop.time()
        self._running = running
        self.ledger.keep(self._inventory.domains)
        plan = energy_plans.build_plan(self._inventory, known)
        self._plans = plan.domains
        return plan

    def _make_job(
        self, plan: HostPlan | None, grants: Mapping[int, GroupGrant]
    ) -> EnergyJob:
        inventory = self._inventory
        names: dict[DomainId, str] = {}
        packages: dict[int, int] = {}
        if plan is not None:
            names = {it: inventory.domains[it].spec.name for it in self._running}
            packages = {
                int(pcpu): energy_plans.package_of(inventory, pcpu)
                for pcpu in inventory.topology.online
            }
        return EnergyJob(
            plan=plan,
            names=names,
            pcpu_packages=packages,
            groups=tuple(inventory.groups),
            grants=grants,
            grants_ns=time.monotonic_ns(),
            votes_khz=self._monitor.observed_votes(),
        )

    def _work(self, job: EnergyJob) -> None:
        found = None
        try:
            found = self._sampler.sample(job)
        finally:
            # A result that arrives after the loop was closed is dropped.
            with contextlib.suppress(RuntimeError):
                self._loop.call_soon_threadsafe(self._on_sampled, found)

    def _on_sampled(self, found: EnergyResult | None) -> None:
        self._is_sampling = False
        if found is None or self._timer is None:
            return
        self.state = found.state
        self._most_s = found.most_s
        self.ledger.add(found.interval)
        if found.problem != self._problem:
            self._problem = found.problem
            self._react(events.MetersDoubted(found.problem))
        for listener in self.listeners:
            listener(found.interval)
