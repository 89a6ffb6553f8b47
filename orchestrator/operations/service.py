# SPDX-License-Identifier: Apache-2.0
"""The daemon behind the control API."""

from __future__ import annotations

import os
import time
from contextlib import aclosing
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from orchestrator import __version__, events
from orchestrator.control import models
from orchestrator.controller.actions import Report
from orchestrator.energy.attribution import Calibration
from orchestrator.energy.calibration import check_calibration
from orchestrator.energy.curves import Curve
from orchestrator.errors import ControlError, VmpowerError
from orchestrator.operations.clock_group_changes import ClockGroupChanges
from orchestrator.operations.grant_events import GrantEvents
from orchestrator.operations.history_reader import HistoryReader
from orchestrator.operations.policy_check import check_policy
from orchestrator.operations.user_names import UserNames
from orchestrator.policy.compile import order_of
from orchestrator.policy.errors import PolicyError
from orchestrator.policy.subject import Source, SourceKind
from orchestrator.reporting.energy import EnergyReport
from orchestrator.reporting.kernel_frequencies import KernelFrequencies
from orchestrator.reporting.status import StatusBuilder, render_policy
from orchestrator.values.cpuset import parse_cpulist

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Iterator

    from orchestrator.control.feed import EventFeed, EventSelection
    from orchestrator.control.metrics_endpoint import MetricsEndpoint
    from orchestrator.control.service import Exposition, HistorySelection, Peer
    from orchestrator.controller.inventory import Inventory
    from orchestrator.controller.records import GroupRecord
    from orchestrator.events import Event
    from orchestrator.metrics.scraper import Scraper
    from orchestrator.monitor.client.client import Monitor
    from orchestrator.operations.dpdk.commands import VmPowerManagerCommands
    from orchestrator.operations.dpdk.fifo import Fifos
    from orchestrator.performer.energy_runner import EnergyRunner
    from orchestrator.performer.history_keeper import HistoryKeeper
    from orchestrator.performer.policy_runner import PolicyRunner
    from orchestrator.performer.state_keeper import StateKeeper
    from orchestrator.policy.rule import PolicyRule
    from orchestrator.power.group import ClockGroup
    from orchestrator.power.obtained import ObtainedFrequencies
    from orchestrator.power.sysfs import CpuTree
    from orchestrator.reporting.event_log import EventLog
    from orchestrator.values.domain import DomainId, PCpu


class Operations:
    """Implements `ControlBackend` with the inventory and the monitor's table.

    Synchronization: the asyncio thread only.
    """

    def __init__(  # noqa: PLR0913 - the composition root hands over what it built
        self,
        *,
        inventory: Inventory,
        monitor: Monitor,
        policy_runner: PolicyRunner,
        dpdk_commands: VmPowerManagerCommands,
        fifos: Fifos | None,
        tree: CpuTree,
        event_log: EventLog,
        feed: EventFeed,
        state_keeper: StateKeeper,
        history: HistoryKeeper,
        obtained: ObtainedFrequencies,
        scraper: Scraper,
        metrics_endpoint: MetricsEndpoint | None,
        energy: EnergyRunner,
        react: Callable[[Event], None],
    ) -> None:
        self._inventory = inventory
        self._monitor = monitor
        self._policy_runner = policy_runner
        self._dpdk_commands = dpdk_commands
        self._fifos = fifos
        self._frequencies = KernelFrequencies(tree, self._known_groups, obtained)
        self._event_log = event_log
        self._feed = feed
        self._state_keeper = state_keeper
        self._scraper = scraper
        self._metrics_endpoint = metrics_endpoint
        self._energy = energy
        self._react = react
        self._names = UserNames()
        self._started_s = time.monotonic()
        self._clock_groups = ClockGroupChanges(inventory, monitor, react)
        self._grant_events = GrantEvents(inventory, monitor, event_log, feed)
        self._history = HistoryReader(inventory, history)
        self.is_stopping = False

    def _known_groups(self) -> list[ClockGroup]:
        return [record.group for record in self._inventory.groups.values()]

    async def status(self) -> models.Status:
        """Return the whole status."""
        await self._frequencies.refresh()
        config = self._inventory.config
        daemon = models.DaemonStatus(
            version=__version__,
            pid=os.getpid(),
            mode=config.mode,
            uptime_s=round(time.monotonic() - self._started_s, 3),
            run_dir=str(config.run_dir),
            sysfs_root=str(config.sysfs_root),
            monitor_pid=self._monitor.pid,
            monitor_restarts_total=self._inventory.monitor_restarts_total,
            problems=tuple(self._problems()),
        )
        return await self._status_builder().build(daemon)

    def _problems(self) -> Iterator[str]:
        for part in (self._fifos, self._metrics_endpoint):
            if part is not None and part.problem:
                yield part.problem

    async def metrics(self, accept: str) -> Exposition:
        """Return all metrics in the format that suits an Accept header."""
        return await self._scraper.scrape(accept)

    def _status_builder(self) -> StatusBuilder:
        return StatusBuilder(
            self._inventory,
            self._monitor.snapshot(),
            self._frequencies.latest,
            self._policy_runner.statuses(),
            EnergyReport(self._energy.ledger, self._energy.prices)
            if self._energy.is_enabled
            else None,
        )

    async def override(self, pcpu: PCpu, khz: int, *, who: Peer) -> models.Cpu:
        """Set the frequency of a CPU's clock group until it is released.

        Raises:
            ControlError: 404 unknown CPU; 409 it cannot be set now; 503 stopping.
        """
        by = await self._names.describe(who)
        self._check_not_stopping()
        record = self._clock_groups.find(pcpu)
        await self._clock_groups.override(pcpu, record, khz, by)
        await self._state_keeper.flush()
        return await self._cpu(record, pcpu)

    async def release(self, pcpu: PCpu, *, who: Peer) -> models.Cpu:
        """Release the clock group to its votes; without an override, do nothing.

        Without votes, its original settings are restored before this returns.

        Raises:
            ControlError: 404 unknown CPU; 409 it cannot be set now; 503 stopping.
        """
        by = await self._names.describe(who)
        self._check_not_stopping()
        record = self._clock_groups.find(pcpu)
        if record.override_khz is not None:
            await self._clock_groups.release(record, by)
            await self._state_keeper.flush()
        return await self._cpu(record, pcpu)

    async def retake(self, pcpu: PCpu, *, who: Peer) -> models.Cpu:
        """Take a clock group back from another program; else do nothing.

        Raises:
            ControlError: 404 unknown CPU; 409 it cannot be set now; 503 stopping.
        """
        by = await self._names.describe(who)
        self._check_not_stopping()
        record = self._clock_groups.find(pcpu)
        await self._clock_groups.retake(pcpu, record, by)
        return await self._cpu(record, pcpu)

    def _check_not_stopping(self) -> None:
        if self.is_stopping:
            raise ControlError("the daemon is stopping", status=503)

    async def _cpu(self, record: GroupRecord, pcpu: PCpu) -> models.Cpu:
        await self._frequencies.refresh()
        for cpu in self._status_builder().cpus_of(record):
            if cpu.pcpu == pcpu:
                return cpu
        raise ControlError(f"CPU {pcpu} went offline", status=409)

    async def switch_channel(
        self, uuid: DomainId, number: int, *, is_enabled: bool, who: Peer
    ) -> models.Channel:
        """Enable or disable a channel; repeating it is not an error.

        Raises:
            ControlError: 404 unknown domain or channel; 503 stopping.
        """
        by = await self._names.describe(who)
        self._check_not_stopping()
        channel = self._inventory.channel(uuid, number)
        if channel is None:
            raise ControlError(f"domain {uuid} has no channel {number}", status=404)
        self._react(events.ChannelSwitched(uuid, number, is_enabled, by))
        await self._state_keeper.flush()
        record = self._inventory.domains.get(uuid)
        if record is None:
            raise ControlError(f"no such domain: {uuid}", status=404)
        return self._status_builder().channel(record, channel)

    async def set_policy(
        self, uuid: DomainId, name: str, rule: PolicyRule, *, who: Peer
    ) -> models.PolicyAnswer:
        """Set a domain's policy of this name, replacing an existing one.

        Raises:
            ControlError: 404 unknown domain; 409 it can never work; 503 stopping.
        """
        by = await self._names.describe(who)
        self._check_not_stopping()
        source = Source(SourceKind.OPERATOR, name)
        vcpus = None if rule.vcpus is None else parse_cpulist(rule.vcpus)
        order = order_of(rule, vcpus)
        warnings = check_policy(self._inventory, uuid, order)
        try:
            is_news = self._policy_runner.install(uuid, source, order)
        except PolicyError as error:
            raise ControlError(f"policy not set: {error}", status=409) from error
        self._react(
            events.PolicyInstalled(uuid, source, rule.kind, is_news=is_news, by=by)
        )
        await self._state_keeper.flush()
        for status in self._policy_runner.statuses(uuid):
            if status.source == source:
                policy = render_policy(status, datetime.now(UTC))
                missing = (policy.problem,) if policy.problem else ()
                return models.PolicyAnswer(
                    **dict(policy), warnings=(*warnings, *missing)
                )
        raise ControlError("the policy was removed before it took effect", status=409)

    async def remove_policy(
        self, uuid: DomainId, name: str, *, who: Peer
    ) -> models.Domain:
        """Remove a policy that was set with `set_policy`.

        Raises:
            ControlError: 404 unknown domain or policy; 503 stopping.
        """
        by = await self._names.describe(who)
        self._check_not_stopping()
        record = self._inventory.domains.get(uuid)
        source = Source(SourceKind.OPERATOR, name)
        if record is None or not self._policy_runner.remove(uuid, source):
            raise ControlError(
                f"no policy '{name}' was set for this domain through the API",
                status=404,
                hint="see 'vmpower policy list'; to remove a policy of a rule or of "
                "metadata, remove it there",
            )
        self._react(events.PolicyEnded(uuid, source, f"removed by {by}"))
        await self._state_keeper.flush()
        return self._status_builder().domain(record)

    async def energy(self) -> models.Energy:
        """Return the accounting of energy."""
        running = {
            uuid: record.spec.name
            for uuid, record in self._inventory.domains.items()
            if record.spec.state.is_active
        }
        report = EnergyReport(self._energy.ledger, self._energy.prices)
        return report.document(
            running, self._energy.state, is_enabled=self._energy.is_enabled
        )

    async def calibrate(
        self, measured: models.CalibrationRequest, *, who: Peer
    ) -> models.Energy:
        """Use what was measured from now on, also after restarts.

        Raises:
            ControlError: 409 invalid, or it cannot be stored; 503 stopping.
        """
        by = await self._names.describe(who)
        self._check_not_stopping()
        points = measured.curve
        calibration = Calibration(
            static_w={it.package: it.watts for it in measured.static},
            curve=Curve(
                tuple(point.khz for point in points),
                tuple(point.watts for point in points),
            )
            if points
            else None,
        )
        try:
            check_calibration(calibration)
            await self._energy.calibrate(calibration)
        except (VmpowerError, OSError) as error:
            raise ControlError(f"not calibrated: {error}", status=409) from error
        text = f"energy calibrated by {by}"
        self._event_log.add(Report("operator", text))
        return await self.energy()

    async def instruct(
        self, text: str, cpu: int | None, *, who: Peer
    ) -> models.OutcomeList:
        """Execute messages for DPDK's vm_power_manager.

        Raises:
            ControlError: 503 stopping.
        """
        by = await self._names.describe(who)
        self._check_not_stopping()
        outcomes = self._dpdk_commands.execute_all(text, by=by, cpu=cpu)
        await self._state_keeper.flush()
        return models.OutcomeList(
            outcomes=tuple(
                models.Outcome(text=one.text, done=one.is_done, hint=one.hint)
                for one in outcomes
            )
        )

    async def history(self, selection: HistorySelection) -> models.History:
        """Return what domains did in a time.

        Raises:
            ControlError: 400 the answer would be too long; 404 no such domain; 409 no
                history is kept, or it cannot be read.
        """
        return await self._history.read(selection)

    def events(
        self, selection: EventSelection
    ) -> AsyncGenerator[models.EventRecord, None]:
        """Yield recorded events, oldest first, and with `follow` future ones.

        Raises:
            ControlError: 404 no such domain, and no event about one.
        """
        if selection.domain:
            name = self._name_of(selection.domain)
            selection = replace(selection, domain=name)
        return self._read_events(selection)

    def _name_of(self, domain: str) -> str:
        """Return the name of a domain, given in virsh's order: ID, UUID, name."""
        specs = [record.spec for record in self._inventory.domains.values()]
        for spec in specs:
            if str(spec.run) == domain:
                return spec.name
        for spec in specs:
            if spec.uuid == domain.lower():
                return spec.name
        if domain not in (spec.name for spec in specs) and not self._feed.mentions(
            domain
        ):
            raise ControlError(f"no such domain: '{domain[:80]}'", status=404)
        return domain

    async def _read_events(
        self, selection: EventSelection
    ) -> AsyncGenerator[models.EventRecord, None]:
        if selection.follow and selection.has_grants:
            self._grant_events.start()
        async with aclosing(self._feed.read(selection)) as stream:
            async for record in stream:
                yield record

    def stop(self) -> None:
        """Refuse changes from now on, and end all streams."""
        self.is_stopping = True
        self._grant_events.stop()
        self._names.stop()
        self._feed.close()
