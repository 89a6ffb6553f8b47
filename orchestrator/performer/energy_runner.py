# SPDX-License-Identifier: Apache-2.0
"""Samples energy meters and run times once a second, and keeps what follows.

Theory of operation: the loop collects what it knows (grants, votes, what runs where),
and a thread reads counters of the host, which may block, and computes. So nothing waits
for a meter, and a sample that takes longer than a second is followed by a later one.
Plans are made when domains have changed, and every half minute because limits may have.

Synchronization: the asyncio thread only, except for `_work`, which runs in the thread.
"""

from __future__ import annotations

import asyncio
import contextlib
from functools import partial
from typing import TYPE_CHECKING, Protocol

from orchestrator import events
from orchestrator.controller import energy as energy_plans
from orchestrator.energy.ledger import Ledger, Prices
from orchestrator.performer.call_pool import CallPool
from orchestrator.performer.energy_sampler import EnergyJob, EnergySampler
from orchestrator.sampling.qemu_times import PROC

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from orchestrator.controller.inventory import Inventory
    from orchestrator.energy.attribution import Calibration
    from orchestrator.energy.residency import EnergyInterval
    from orchestrator.energy.state import EnergyState
    from orchestrator.monitor.client.views import Grant
    from orchestrator.performer.energy_sampler import EnergyResult
    from orchestrator.power.sysfs import CpuTree
    from orchestrator.values.domain import DomainId

_REPLAN_EVERY = 30
"""Samples."""


class GrantTable(Protocol):
    """What the accounting needs of the monitor."""

    def grant_of(self, group: int) -> Grant:
        """Return what was last set for a group."""
        ...

    def observed_votes(self) -> Mapping[tuple[DomainId, int], int]:
        """Return what guests would vote for that are only observed."""
        ...


class EnergyRunner:
    """Accounts the host's energy while the configuration has it enabled."""

    interval_s = 1.0
    """From one sample to the next."""

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
        self._samples = 0
        self._is_sampling = False
        """Whether the thread is busy with a sample, or has not begun."""
        self._running: Mapping[DomainId, object] = {}
        self._problem = ""
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
            self._samples = 0
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

    def _tick(self) -> None:
        self._timer = self._loop.call_later(self.interval_s, self._tick)
        if self._pool is not None and not self._is_sampling:
            self._is_sampling = True
            job = self._collect()
            self._pool.submit("energy", "sample", partial(self._work, job))

    def _collect(self) -> EnergyJob:
        running = energy_plans.running(self._inventory)
        is_changed = running.keys() != self._running.keys() or any(
            placements is not self._running[uuid]
            for uuid, placements in running.items()
        )
        is_due = self._samples % _REPLAN_EVERY == 0
        self._samples += 1
        inventory, plan = self._inventory, None
        names: dict[DomainId, str] = {}
        packages: dict[int, int] = {}
        if is_changed or is_due:
            self._running = running
            plan = energy_plans.build_plan(inventory)
            names = {uuid: inventory.domains[uuid].spec.name for uuid in running}
            packages = {
                int(pcpu): energy_plans.package_of(inventory, pcpu)
                for pcpu in inventory.topology.online
            }
            self.ledger.keep(inventory.domains)
        taken = energy_plans.list_taken(inventory)
        grant_of = self._monitor.grant_of
        return EnergyJob(
            plan=plan,
            names=names,
            pcpu_packages=packages,
            grants={
                number: grant_of(number).khz if number in taken else None
                for number in inventory.groups
            },
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
        self.ledger.add(found.interval)
        if found.problem != self._problem:
            self._problem = found.problem
            self._react(events.MetersDoubted(found.problem))
        for listener in self.listeners:
            listener(found.interval)
