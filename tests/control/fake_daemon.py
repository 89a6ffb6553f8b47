# SPDX-License-Identifier: Apache-2.0
"""A daemon behind the control API that has no CPUs and no libvirt.

It keeps the promises of `ControlBackend`, which `test_contract` checks of it and of
the real daemon. What it decides, it decides with the functions that the real one uses.
"""

from __future__ import annotations

import asyncio
import threading
from contextlib import contextmanager
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING

from orchestrator.channel.lifecycle import ChannelEvent, next_state
from orchestrator.config import EnergyConfig
from orchestrator.control.feed import EventFeed, EventSelection
from orchestrator.control.models import (
    CalibrationRequest,
    Channel,
    Cpu,
    DaemonStatus,
    Domain,
    Energy,
    EnergyOfDomain,
    EventRecord,
    History,
    LibvirtStatus,
    Outcome,
    OutcomeList,
    Policy,
    PolicyAnswer,
    PolicyWant,
    Status,
)
from orchestrator.control.server import DEADLINES, ControlServer
from orchestrator.energy.attribution import Calibration
from orchestrator.energy.calibration import check_calibration
from orchestrator.energy.curves import Curve
from orchestrator.errors import ConfigError, ControlError
from orchestrator.history.ranges import Found, Range
from orchestrator.limits import NO_LIMITS, window_of
from orchestrator.metrics import families
from orchestrator.metrics.exposition import expose
from orchestrator.metrics.family import Samples
from orchestrator.operations.dpdk.json_messages import (
    MessageSplitter,
    parse_instruction,
)
from orchestrator.policy.compile import order_of
from orchestrator.policy.subject import SourceKind
from orchestrator.policy.text import describe
from orchestrator.reporting.history import render_history
from orchestrator.values.cpuset import parse_cpulist
from orchestrator.values.domain_settings import Mode
from orchestrator.values.frequencies import table_from
from tests.control.fake_host import (
    CPUS,
    DOMAINS,
    HOST_ENERGY,
    METER_W,
    PACKAGE_ENERGY,
    START,
    STEPS,
    UNMANAGED,
)

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Iterator, Mapping
    from pathlib import Path

    from orchestrator.control.deadlines import Deadlines
    from orchestrator.control.models import EnergyPackage
    from orchestrator.control.service import Exposition, HistorySelection, Peer
    from orchestrator.history.store import HistoryStore
    from orchestrator.limits import Limits
    from orchestrator.policy.rule import PolicyRule
    from orchestrator.values.domain import DomainId, PCpu

FOREIGN_GROUP = 4
"""A clock group that another daemon has claimed."""


class FakeDaemon:
    """Implements `ControlBackend`."""

    def __init__(
        self, *, mode: Mode = Mode.ENFORCE, limits: Limits = NO_LIMITS
    ) -> None:
        """Start with the documents of `fake_host`.

        Args:
            mode: of the host.
            limits: of the host and the kernel.
        """
        self.mode = mode
        self.window = window_of(table_from(STEPS), limits)
        self.feed = EventFeed(capacity=1_000)
        self.callers: list[Peer] = []
        self.store: HistoryStore | None = None
        """The history that it serves; None: an empty one."""
        self.package = PACKAGE_ENERGY
        self.is_energy_enabled = True
        self.domains = {domain.uuid: domain for domain in DOMAINS}
        bounds = {"min_khz": self.window.low_khz, "max_khz": self.window.high_khz}
        self.cpus = {one.pcpu: one.model_copy(update=bounds) for one in CPUS}
        self.libvirt = LibvirtStatus(
            uri="qemu:///system", connected=True, reconnects_total=0, stale_since=None
        )
        for second, text in enumerate(("dpdk-fw is running", "channel 0 is open")):
            self.report("channel-state", text, domain="dpdk-fw", second=second)

    def report(
        self,
        kind: str,
        text: str,
        *,
        domain: str | None = None,
        facts: Mapping[str, str | int] | None = None,
        second: int = 0,
    ) -> None:
        time = START + timedelta(seconds=second)
        self.feed.publish(time, kind, text, domain=domain, facts=facts)

    def lose_libvirt(self) -> None:
        self.libvirt = LibvirtStatus(
            uri="qemu:///system",
            connected=False,
            reconnects_total=2,
            stale_since=START,
            reason="connection refused",
        )

    async def status(self) -> Status:
        return self.picture()

    def picture(self) -> Status:
        return Status(
            daemon=DaemonStatus(
                version="0.1.0",
                pid=4711,
                mode=self.mode,
                uptime_s=7384.5,
                run_dir="/run/vmpower",
                sysfs_root="/tmp/cpus",
                monitor_pid=4712,
            ),
            libvirt=self.libvirt,
            domains=tuple(self.domains.values()),
            cpus=tuple(self.cpus.values()),
            unmanaged_cpus=UNMANAGED,
            energy=HOST_ENERGY,
        )

    async def metrics(self, accept: str) -> Exposition:
        one = Samples(families.ENFORCING, [((), self.mode is Mode.ENFORCE)])
        return expose([one], accept)

    def _sample(self) -> EnergyPackage:
        """Let a second pass for the meter, if there is one."""
        before = self.package
        if before.measured_joules_total is not None:
            counted = {
                "measured_joules_total": before.measured_joules_total + METER_W,
                "measured_seconds_total": before.measured_seconds_total + 1.0,
            }
            self.package = before.model_copy(update=counted)
        return self.package

    async def energy(self) -> Energy:
        return Energy(
            enabled=self.is_energy_enabled,
            host=HOST_ENERGY,
            domains=tuple(
                EnergyOfDomain(domain=it.name, uuid=it.uuid, **dict(it.energy))
                for it in self.domains.values()
                if it.energy
            ),
            packages=(self._sample(),),
            model="Imitated Xeon",
            profile="Xeon Scalable, third generation",
        )

    async def calibrate(self, measured: CalibrationRequest, *, who: Peer) -> Energy:
        self.callers.append(who)
        points = measured.curve
        calibration = Calibration(
            static_w={it.package: it.watts for it in measured.static},
            curve=Curve(
                tuple(it.khz for it in points), tuple(it.watts for it in points)
            )
            if points
            else None,
        )
        try:
            check_calibration(calibration)
        except ConfigError as error:
            raise ControlError(f"not calibrated: {error}", status=409) from error
        for static in measured.static:
            changed = {"static_watts": static.watts, "static_calibrated": True}
            self.package = self.package.model_copy(update=changed)
        self.report("operator", "energy calibrated")
        return await self.energy()

    async def override(self, pcpu: PCpu, khz: int, *, who: Peer) -> Cpu:
        group = self._settable_group(pcpu)
        fitted_khz = self.window.fit(khz)
        self._set_group(group, fitted_khz, who)
        self.report(
            "operator",
            f"clock group {group} set to {fitted_khz} kHz",
            facts={"group": group, "khz": fitted_khz},
        )
        return self.cpus[pcpu]

    async def retake(self, pcpu: PCpu, *, who: Peer) -> Cpu:
        group = self._settable_group(pcpu)
        if self.cpus[pcpu].drift is not None:
            for number, cpu in self.cpus.items():
                if cpu.clock_group == group:
                    change = {"drift": None, "reason": None, "claimed": True}
                    self.cpus[number] = cpu.model_copy(update=change)
            text = f"clock group {group} retaken by uid {who.uid}"
            self.report("operator", text, facts={"group": group})
        return self.cpus[pcpu]

    async def release(self, pcpu: PCpu, *, who: Peer) -> Cpu:
        group = self._settable_group(pcpu)
        if self.cpus[pcpu].override_khz is not None:
            self._set_group(group, None, who)
            text = f"clock group {group} released"
            self.report("operator", text, facts={"group": group})
        return self.cpus[pcpu]

    def _settable_group(self, pcpu: PCpu) -> int:
        if pcpu not in self.cpus:
            raise ControlError(f"no such CPU: {pcpu}", status=404)
        if self.mode is Mode.OBSERVE:
            raise ControlError(
                f"CPU {pcpu} cannot be set: the daemon is in observe mode",
                status=409,
                hint="set mode = 'enforce' in its configuration",
            )
        group = self.cpus[pcpu].clock_group
        if group == FOREIGN_GROUP:
            raise ControlError(
                f"clock group {group} is claimed by another daemon",
                status=409,
                hint="stop the other one",
            )
        return group

    def _set_group(self, group: int, khz: int | None, who: Peer) -> None:
        self.callers.append(who)
        for one in self.cpus.values():
            if one.clock_group == group:
                changes = {
                    "override_khz": khz,
                    "grant_khz": khz,
                    "claimed": khz is not None,
                    "current_khz": khz or one.current_khz,
                }
                self.cpus[one.pcpu] = one.model_copy(update=changes)

    async def switch_channel(
        self, uuid: DomainId, number: int, *, is_enabled: bool, who: Peer
    ) -> Channel:
        domain = self._domain(uuid)
        channels = {channel.number: channel for channel in domain.channels}
        if number not in channels:
            raise ControlError(f"domain {uuid} has no channel {number}", status=404)
        word = "SWITCHED_ON" if is_enabled else "SWITCHED_OFF"
        event = ChannelEvent[word]
        state = next_state(channels[number].state, event)
        changes = {"enabled": is_enabled, "state": state}
        channels[number] = channels[number].model_copy(update=changes)
        self.callers.append(who)
        kept = {"channels": tuple(channels.values())}
        self.domains[uuid] = domain.model_copy(update=kept)
        word = "enabled" if is_enabled else "disabled"
        self.report("operator", f"channel {number} {word}", domain=domain.name)
        return channels[number]

    async def set_policy(
        self, uuid: DomainId, name: str, rule: PolicyRule, *, who: Peer
    ) -> PolicyAnswer:
        domain = self._domain(uuid)
        vcpus = None if rule.vcpus is None else parse_cpulist(rule.vcpus)
        found, warnings = _find_vcpus(domain, vcpus)
        policy = Policy(
            source=SourceKind.OPERATOR,
            name=name,
            channel=None,
            kind=rule.kind,
            text=describe(order_of(rule, vcpus)),
            wants=tuple(PolicyWant(vcpu=vcpu, khz=STEPS[-1]) for vcpu in found),
            problem=None,
        )
        self.callers.append(who)
        self._keep_policies(domain, (*_without(domain, name), policy))
        self._report_policy(domain, name, "is in force")
        return PolicyAnswer(**dict(policy), warnings=warnings)

    async def remove_policy(self, uuid: DomainId, name: str, *, who: Peer) -> Domain:
        domain = self._domain(uuid)
        left = _without(domain, name)
        if left == domain.policies:
            raise ControlError(
                f"no policy '{name}' was set for this domain through the API",
                status=404,
            )
        self.callers.append(who)
        self._report_policy(domain, name, "removed")
        return self._keep_policies(domain, left)

    def _domain(self, uuid: DomainId) -> Domain:
        if uuid not in self.domains:
            raise ControlError(f"no such domain: '{uuid}'", status=404)
        return self.domains[uuid]

    def _report_policy(self, domain: Domain, name: str, what: str) -> None:
        source = f"{SourceKind.OPERATOR} {name}"
        text = f"policy of {source} {what}"
        self.report("policy", text, domain=domain.name, facts={"source": source})

    def _keep_policies(self, domain: Domain, policies: tuple[Policy, ...]) -> Domain:
        changed = domain.model_copy(update={"policies": policies})
        self.domains[domain.uuid] = changed
        return changed

    async def instruct(self, text: str, cpu: int | None, *, who: Peer) -> OutcomeList:
        outcomes = []
        for message in MessageSplitter().feed(text.encode()):
            try:
                if isinstance(message, ConfigError):
                    raise message
                done = parse_instruction(message, cpu=cpu).command.upper()
                outcomes.append(Outcome(text=done, done=True))
            except ConfigError as error:
                text = f"refused: {error}"
                outcomes.append(Outcome(text=text, done=False, hint=error.hint))
        self.callers.append(who)
        return OutcomeList(outcomes=tuple(outcomes))

    async def history(self, selection: HistorySelection) -> History:
        domain = selection.domain
        if self.store is None:
            found = Found([], [], {})
        else:
            wanted = Range(
                selection.since.timestamp(),
                selection.until.timestamp(),
                selection.step_s,
                is_per_domain=selection.is_per_domain or bool(domain),
            )
            found = self.store.read(wanted)
        if domain and domain not in (it.name for it in found.domains):
            domain = self._name_of(domain)
        chosen = [it for it in found.domains if domain in ("", it.name)]
        return render_history(
            found._replace(domains=chosen),
            EnergyConfig(price_per_kwh=0.25, co2_g_per_kwh=400.0),
            since=selection.since,
            until=selection.until,
            step_s=selection.step_s,
            problem="",
        )

    def events(self, selection: EventSelection) -> AsyncGenerator[EventRecord, None]:
        if selection.domain:
            name = self._name_of(selection.domain)
            selection = replace(selection, domain=name)
        return self.feed.read(selection)

    def _name_of(self, domain: str) -> str:
        for one in self.domains.values():
            if domain in (str(one.id), one.uuid, one.name):
                return one.name
        if self.feed.mentions(domain):
            return domain
        raise ControlError(f"no such domain: '{domain}'", status=404)


def _without(domain: Domain, name: str) -> tuple[Policy, ...]:
    """Return a domain's policies without the operator's policy of a name."""
    return tuple(
        one
        for one in domain.policies
        if (one.source, one.name) != (SourceKind.OPERATOR, name)
    )


def _find_vcpus(
    domain: Domain, listed: frozenset[int] | None
) -> tuple[list[int], tuple[str, ...]]:
    """Return the vCPUs that a policy applies to, and a warning for each other."""
    if not domain.state.is_active:
        raise ControlError("policy not set: the domain is not running", status=409)
    vcpus = {one.vcpu: one for one in domain.vcpus}
    wanted = sorted(vcpus if listed is None else listed)
    if unknown := set(wanted) - set(vcpus):
        text = f"policy not set: the domain has no vCPU {min(unknown)}"
        raise ControlError(text, status=409)
    return (
        [number for number in wanted if vcpus[number].controllable],
        tuple(
            f"no effect on vCPU {number} now: {vcpus[number].reason}"
            for number in wanted
            if not vcpus[number].controllable
        ),
    )


@contextmanager
def serving(
    run_dir: Path,
    create: Callable[[], FakeDaemon] = FakeDaemon,
    *,
    deadlines: Deadlines = DEADLINES,
) -> Iterator[FakeDaemon]:
    """Serve a fake daemon from a thread, so that a test may block."""
    started = threading.Event()
    served: list[FakeDaemon] = []
    stops: list[tuple[asyncio.AbstractEventLoop, asyncio.Event]] = []

    async def serve() -> None:
        daemon, stop = create(), asyncio.Event()
        server = ControlServer(daemon, run_dir, deadlines=deadlines)
        await server.start()
        served.append(daemon)
        stops.append((asyncio.get_running_loop(), stop))
        started.set()
        await stop.wait()
        await server.stop()

    thread = threading.Thread(target=lambda: asyncio.run(serve()))
    thread.start()
    try:
        if not started.wait(10):
            raise TimeoutError("the fake daemon did not start")
        yield served[0]
    finally:
        for loop, stop in stops:
            loop.call_soon_threadsafe(stop.set)
        thread.join(10)
