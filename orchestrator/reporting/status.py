# SPDX-License-Identifier: Apache-2.0
"""Builds the status document from the inventory, the monitor and the kernel.

Theory of operation: a vCPU and its channel take some 20 microseconds; a thousand of
them would block the loop for longer than a guest waits for the answer to its policy. So
the document is built in pieces, and the loop runs other work between them; the domains
are not all from the same moment.
"""

from __future__ import annotations

import asyncio
import time
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from orchestrator.control import models
from orchestrator.controller.drift import explain as explain_drift
from orchestrator.controller.group_lifecycle import GroupStage
from orchestrator.controller.onboarding import explain
from orchestrator.controller.refusal_causes import find_causes
from orchestrator.limits import UNLIMITED_KHZ
from orchestrator.monitor.client.views import Counters
from orchestrator.policy.text import describe
from orchestrator.reporting import followed_domains, kernel_settings, p_state_tables
from orchestrator.reporting.coordinated import CoordinatedCpus
from orchestrator.reporting.limit_sources import find_gaps, find_sources
from orchestrator.rights import resolve_rights
from orchestrator.values.domain_settings import SETTINGS

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterable, Iterator, Mapping

    from orchestrator.controller.inventory import Inventory
    from orchestrator.controller.records import ChannelRecord, DomainRecord, GroupRecord
    from orchestrator.monitor.client.views import MonitorSnapshot
    from orchestrator.policy.subject import PolicyStatus
    from orchestrator.power.topology import ClockReading
    from orchestrator.reporting.energy import EnergyReport
    from orchestrator.reporting.limit_sources import LimitSources
    from orchestrator.rights import Rights

_NOTHING_YET = Counters()
_GROUPS_PER_PIECE = 32
"""Half a millisecond."""


class StatusBuilder:
    """Builds a status document; for one use.

    Synchronization: the asyncio thread only; it reads no files.
    """

    def __init__(
        self,
        inventory: Inventory,
        monitor: MonitorSnapshot,
        readings: Mapping[int, ClockReading],
        policies: Iterable[PolicyStatus] = (),
        energy: EnergyReport | None = None,
    ) -> None:
        self._energy = energy
        self._inventory = inventory
        self._monitor = monitor
        self._readings = readings
        self._coordinated = CoordinatedCpus(inventory, monitor.grants, readings)
        self._policies: dict[str, list[models.Policy]] = {}
        now = datetime.now(UTC)
        for status in policies:
            policy = render_policy(status, now)
            self._policies.setdefault(status.uuid, []).append(policy)

    async def build(self, daemon: models.DaemonStatus) -> models.Status:
        """Return the whole document; the loop runs other work meanwhile."""
        domains = [domain async for domain in self._domains()]
        cpus = [cpu async for cpu in self._cpus()]
        unmanaged = self._inventory.topology.unmanaged
        return models.Status(
            schema=models.SCHEMA,
            daemon=daemon,
            libvirt=self._libvirt(),
            domains=tuple(domains),
            cpus=tuple(sorted(cpus, key=lambda cpu: cpu.pcpu)),
            unmanaged_cpus=tuple(
                models.UnmanagedCpu(pcpu=pcpu, reason=reason)
                for pcpu, reason in unmanaged.items()
            ),
            energy=self._energy.host() if self._energy else None,
            kernel_settings=tuple(kernel_settings.list_settings(self._inventory)),
        )

    async def _domains(self) -> AsyncIterator[models.Domain]:
        known = self._inventory.domains
        for record in sorted(known.values(), key=lambda record: record.spec.name):
            if known.get(record.spec.uuid) is record:
                yield self.domain(record)
                await asyncio.sleep(0)

    async def _cpus(self) -> AsyncIterator[models.Cpu]:
        for count, record in enumerate(list(self._inventory.groups.values()), 1):
            for cpu in self.cpus_of(record):
                yield cpu
            if count % _GROUPS_PER_PIECE == 0:
                await asyncio.sleep(0)

    def _libvirt(self) -> models.LibvirtStatus:
        libvirt = self._inventory.libvirt
        return models.LibvirtStatus(
            uri=self._inventory.config.libvirt.uri,
            connected=libvirt.is_connected,
            reconnects_total=libvirt.reconnects_total,
            stale_since=libvirt.stale_since,
            reason=libvirt.reason or None,
        )

    def domain(self, record: DomainRecord) -> models.Domain:
        """Return one domain."""
        spec = record.spec
        problems = [
            *spec.problems,
            record.onboarding.problem,
            record.p_states.problem,
            *_refusals(record),
            *find_gaps(self._inventory, record),
            *kernel_settings.find_gaps(self._inventory, record),
            *followed_domains.find_gaps(self._inventory, record),
            *p_state_tables.find_gaps(self._inventory, record),
        ]
        rights = resolve_rights(self._inventory.config, spec)
        return models.Domain(
            uuid=spec.uuid,
            name=spec.name,
            id=spec.run if spec.run >= 0 else None,
            state=spec.state,
            mode=rights.mode.value,
            rights=models.Rights(
                **{
                    name: rights[name]._asdict()
                    for name in models.Rights.model_fields
                    if name in SETTINGS
                },
                onboarding=models.OnboardingRight(
                    **explain(self._inventory.config, spec)._asdict()
                ),
            ),
            vcpus=tuple(self._vcpus(record, rights)),
            channels=tuple(
                self.channel(record, record.channels[number])
                for number in sorted(record.channels)
            ),
            problems=tuple(problem for problem in problems if problem),
            policies=tuple(self._policies.get(spec.uuid, ())),
            energy=self._energy.domain(spec.uuid) if self._energy else None,
            threads=tuple(
                models.QemuThread(name=it.name, pcpus=tuple(sorted(it.pinning)))
                for it in spec.threads
            ),
        )

    def _vcpus(self, record: DomainRecord, rights: Rights) -> Iterator[models.Vcpu]:
        for placement in record.placements.values():
            key = (record.spec.uuid, int(placement.vcpu))
            requested_khz = self._monitor.requested_khz.get(key)
            steps_khz = self._steps_khz(rights, placement.group)
            sources = self._limit_sources(rights, placement.group)
            yield models.Vcpu(
                vcpu=placement.vcpu,
                pcpus=tuple(sorted(placement.pcpus)),
                controllable=placement.reason is None,
                reason=placement.reason,
                requested_khz=requested_khz,
                wish_khz=requested_khz,
                clock_group=placement.group,
                min_khz=min(steps_khz, default=None),
                max_khz=max(steps_khz, default=None),
                min_source=sources.lowest if sources else None,
                max_source=sources.highest if sources else None,
                clock_groups=placement.groups,
                idle_states=kernel_settings.idle_states_of(self._inventory, placement),
                refusal=placement.refusal.word if placement.refusal else None,
            )

    def _steps_khz(self, rights: Rights, group: int | None) -> tuple[int, ...]:
        if group is None:
            return ()
        return self._inventory.vcpu_window(rights, group).khz

    def _limit_sources(self, rights: Rights, group: int | None) -> LimitSources | None:
        return None if group is None else find_sources(self._inventory, rights, group)

    def channel(self, record: DomainRecord, channel: ChannelRecord) -> models.Channel:
        """Return one channel of a domain."""
        spec = channel.spec
        key = (record.spec.uuid, spec.number)
        counted = self._monitor.channels.get(key, _NOTHING_YET)
        return models.Channel(
            number=spec.number,
            target=spec.target,
            path=spec.path,
            state=channel.state,
            enabled=channel.is_enabled,
            reason=channel.reason or None,
            requests_total=counted.requests,
            acks_total=counted.acks,
            nacks_total=counted.nacks,
            dropped_total=counted.dropped,
            late_total=counted.late,
            errors_total=counted.errors,
            unanswered_total=counted.unanswered,
            throttled_total=counted.throttled,
            budget=self._inventory.config.channels.budget or None,
            nack_reasons=dict(counted.nack_reasons),
            nack_causes={
                word: cause
                for word, cause in find_causes(
                    self._inventory, record, spec.number
                ).items()
                if word in counted.nack_reasons
            },
            nack_last={
                word: _wall_time(at_ns) for word, at_ns in counted.nack_last_ns.items()
            },
            generation=counted.generation,
            generation_given=counted.is_generation_configured,
            kind=spec.kind,
            last_request=_wall_time(counted.last_received_ns)
            if counted.requests and counted.last_received_ns
            else None,
        )

    def cpus_of(self, record: GroupRecord) -> Iterator[models.Cpu]:
        """Return the CPUs of one clock group."""
        group = record.group
        is_taken = record.stage is GroupStage.TAKEN
        window = self._inventory.held_window(group.number)
        reading = self._readings.get(group.number)
        kernel, held = record.kernel, record.kernel.held
        coordinated = tuple(sorted(self._coordinated.of(record)))
        held_up = self._coordinated.holding_up(record)
        follows = tuple(
            followed_domains.list_followed(self._inventory, self._monitor, record)
        )
        for pcpu in group.pcpus & self._inventory.topology.online:
            location = self._inventory.topology.locations.get(pcpu)
            yield models.Cpu(
                pcpu=pcpu,
                package=location.package if location else None,
                core=location.core if location else None,
                node=location.node if location else None,
                clock_group=group.number,
                driver=group.driver,
                mechanism=group.mechanism,
                governor=reading.governor if reading else group.governor,
                claimed=is_taken,
                simulated=group.is_simulated,
                min_khz=window.low_khz,
                max_khz=window.high_khz,
                grant_khz=self._monitor.grants.get(group.number) if is_taken else None,
                current_khz=reading.current_khz if reading else None,
                steps_khz=group.steps.khz,
                nominal_khz=group.steps.nominal_khz,
                override_khz=record.override_khz,
                drift=record.drift if record.stage is GroupStage.DRIFTED else None,
                boost=not kernel.is_boost_off,
                turbo_switch=kernel.turbo_switch or None,
                epp=kernel_settings.preference_of(self._inventory, group.number),
                idle_latency_us=kernel_settings.latency_of(self._inventory, pcpu),
                held_min_khz=held.min_khz or None,
                held_max_khz=held.max_khz if held.max_khz < UNLIMITED_KHZ else None,
                reason=self._find_reason(record) or held_up.reason or None,
                coordinated_cpus=coordinated,
                held_up_by=held_up.pcpus,
                follows=follows,
            )

    def _find_reason(self, record: GroupRecord) -> str | None:
        is_shared = record.sent is not None and record.sent.has_host_cpus
        is_kept_high = is_shared and record.override_khz is None
        if record.stage is GroupStage.TAKEN and is_kept_high:
            return (
                "kept at its highest step: the host's own work may run in its clock"
                " group (power.share_with_host)"
            )
        refused = record.kernel.problem
        problem = f"frequency limits not set: {refused}" if refused else ""
        return explain_drift(record) or problem or record.reason or None


def _wall_time(at_ns: int) -> datetime:
    """Return the wall time of a monotonic one, to the second."""
    ago = timedelta(seconds=(time.monotonic_ns() - at_ns) / 1e9)
    return (datetime.now(UTC) - ago).replace(microsecond=0)


def _refusals(record: DomainRecord) -> Iterator[str]:
    """Yield the configured policies that were refused, but not those of guests."""
    for source, reason in record.policy_refusals.items():
        if source.channel is None:
            yield f"policy of {source} refused: {reason}"


def render_policy(status: PolicyStatus, now: datetime) -> models.Policy:
    """Return one policy that is in effect, and what its timetable changes next."""
    change = status.outlook.next_change(now)
    return models.Policy(
        source=status.source.kind,
        name=status.source.name,
        channel=status.source.channel,
        kind=status.order.policy.kind,
        text=describe(status.order),
        wants=tuple(
            models.PolicyWant(vcpu=vcpu, khz=khz, counts=vcpu not in status.overridden)
            for vcpu, khz in sorted(status.wants_khz.items())
        ),
        **status.order.held._asdict(),
        problem=status.problem or None,
        next_change=change and models.PolicyChange(at=change.at, level=change.level),
    )
