# SPDX-License-Identifier: Apache-2.0
"""What is known of the host: domains, channels, clock groups, connections.

Only the controller changes it; others read it between two events.
Synchronization: the asyncio thread only.
"""

from __future__ import annotations

import itertools
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from orchestrator.config import IdleCpus
from orchestrator.controller.group_lifecycle import HELD, GroupStage
from orchestrator.controller.records import (
    FollowingThread,
    LibvirtRecord,
    Occurrences,
    Placement,
)
from orchestrator.limits import Limits, turbo_limit, window_of
from orchestrator.power.topology import Assignment
from orchestrator.rights import is_limited
from orchestrator.values.domain_settings import Mode, ThreadFrequency
from orchestrator.values.refusal import Refusal

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from orchestrator.config import Config
    from orchestrator.controller.records import (
        ChannelKey,
        ChannelRecord,
        DomainRecord,
        GroupRecord,
    )
    from orchestrator.limits import Window
    from orchestrator.power.attribute_state import AttributeState
    from orchestrator.power.topology import Topology
    from orchestrator.rights import Rights
    from orchestrator.saved.state import SavedDomain
    from orchestrator.values.domain import DomainId, PCpu, VCpuSpec
    from orchestrator.values.frequencies import FrequencyTable


@dataclass(slots=True)
class Inventory:
    """All records."""

    config: Config
    topology: Topology
    libvirt: LibvirtRecord = field(default_factory=LibvirtRecord)
    is_monitor_up: bool = False
    monitor_restarts_total: int = 0
    occurrences: Occurrences = field(default_factory=Occurrences)
    domains: dict[DomainId, DomainRecord] = field(default_factory=dict)
    groups: dict[int, GroupRecord] = field(default_factory=dict)
    saved: dict[DomainId, SavedDomain] = field(default_factory=dict)
    """Decisions of the daemon's last run, until their domain is described."""
    first_listed: frozenset[DomainId] | None = None
    """The domains that existed when the daemon started; None: not known yet."""
    attribute_wants: dict[str, dict[DomainId, str]] = field(default_factory=dict)
    """What domains want attributes of the kernel to be held at, by path."""
    wanted_attributes: dict[str, str] = field(default_factory=dict)
    """What attributes are to be held at, by path or by the pattern of a kind."""
    attributes: dict[str, AttributeState] = field(default_factory=dict)
    """What became of them, as last read."""
    channels_at: dict[str, set[ChannelKey]] = field(default_factory=dict)
    """The channels of running domains by socket: by path, and by identity; see
    `shared_sockets`."""
    _uuids: dict[str, DomainId] = field(default_factory=dict)
    """By name of a domain: each event names one."""
    _domains_in: dict[int, set[DomainId]] = field(default_factory=dict)
    """Active domains with a vCPU or a following thread in each clock group, so that a
    decision about one group does not cost a check of every domain of the host."""
    _limited: set[DomainId] = field(default_factory=set)
    """Domains with limits of their own; few, on most hosts."""
    is_every_domain_known: bool = False
    """Whether all of `first_listed` have been described."""
    _elsewhere: dict[DomainId, frozenset[PCpu]] = field(default_factory=dict)
    """CPUs that active domains use without a vCPU that is pinned into one clock group:
    floating vCPUs, threads. Kept only for `[host] idle_cpus`."""
    _users: Counter[PCpu] = field(default_factory=Counter)
    """How many domains use a CPU like that."""

    def find_domain(self, name: str) -> DomainRecord | None:
        """Return the domain of a name, or None if there is no such domain."""
        uuid = self._uuids.get(name)
        return None if uuid is None else self.domains.get(uuid)

    def note_name(self, record: DomainRecord, old: str) -> None:
        """Note the name of a domain that had another one, or is new."""
        uuid = record.spec.uuid
        self._forget_name(old, uuid)
        self._uuids[record.spec.name] = uuid

    def _forget_name(self, name: str, uuid: DomainId) -> None:
        """Forget the name of a domain, unless another one has it now."""
        if self._uuids.get(name) == uuid:
            del self._uuids[name]

    def channel(self, uuid: DomainId, number: int) -> ChannelRecord | None:
        """Return a channel, or None if there is no such domain or channel."""
        domain = self.domains.get(uuid)
        return domain.channels.get(number) if domain else None

    def pinned_into(self, group: int) -> Iterator[DomainRecord]:
        """Yield the active domains with a vCPU or a following thread in a group."""
        domains = (self.domains[uuid] for uuid in self._domains_in.get(group, ()))
        return (domain for domain in domains if domain.spec.state.is_active)

    def is_needed(self, group: int, changed: DomainRecord | None = None) -> bool:
        """Whether a domain, a policy or the operator may set a group's frequency.

        Args:
            group: its number.
            changed: the only domain that changed since the last decision about this
                group; None: any may have.
        """
        if self.config.mode is Mode.OBSERVE:
            return False
        record = self.groups[group]
        if record.override_khz is not None:
            return True
        known = self.domains.get(record.last_user) if record.last_user else None
        candidates: Iterable[DomainRecord] = [d for d in (changed, known) if d]
        if changed is None or record.stage is not GroupStage.IDLE:
            candidates = itertools.chain(candidates, self.pinned_into(group))
        for domain in candidates:
            if self._needs(domain, group):
                record.last_user = domain.spec.uuid
                return True
        return False

    def _needs(self, domain: DomainRecord, group: int) -> bool:
        is_here = domain.spec.uuid in self._domains_in.get(group, ())
        return is_here and domain.spec.state.is_active and domain.needs(group)

    def is_limited(self, group: int) -> bool:
        """Return whether a domain with limits of its own may be in a clock group."""
        return not self._limited.isdisjoint(self._domains_in.get(group, ()))

    def has_host_cpus(self, record: GroupRecord) -> bool:
        """Return whether the host's own work may run on a CPU of a clock group."""
        if self.config.power.share_with_host:
            return False
        free = record.group.pcpus & self.topology.online
        for domain in self.pinned_into(record.group.number):
            if not free:
                return False
            for placement in domain.placements.values():
                if record.group.number in placement.groups:
                    free -= placement.pcpus
            for thread in domain.threads:
                if record.group.number in thread.groups:
                    free -= thread.pcpus
        return bool(free)

    def host_limits(self, steps: FrequencyTable) -> Limits:
        """Return what the host's configuration permits clock groups with this table."""
        bounds = self.config.bounds
        turbo = turbo_limit(steps, is_allowed=bounds.turbo)
        return Limits.of(bounds.min_khz, bounds.max_khz).within(turbo)

    def group_limits(self, number: int) -> Limits:
        """Return what the host's configuration and the kernel permit a clock group."""
        record = self.groups[number]
        steps, kernel = record.group.steps, record.kernel
        boost = turbo_limit(steps, is_allowed=not kernel.is_boost_off)
        # The kernel clamps silently to its own.
        return self.host_limits(steps).within(kernel.limits).within(boost)

    def group_window(self, number: int) -> Window:
        """Return the steps that a clock group may have, for any source of requests."""
        steps = self.groups[number].group.steps
        return window_of(steps, self.group_limits(number))

    def held_window(self, number: int) -> Window:
        """Return the steps that it may have now: the domains' limits count, too."""
        record = self.groups[number]
        return window_of(record.group.steps, self.group_limits(number), record.held)

    def vcpu_window(self, rights: Rights, number: int) -> Window:
        """Return the steps that a vCPU of a domain may have in a clock group."""
        steps = self.groups[number].group.steps
        turbo = turbo_limit(steps, is_allowed=rights.turbo.value)
        return window_of(steps, self.group_limits(number), rights.limits, turbo)

    def may_use_turbo(self, rights: Rights, number: int | None) -> bool:
        """Return whether a vCPU of a domain may use turbo in a clock group, if any."""
        record = None if number is None else self.groups.get(number)
        is_boost_off = record is not None and record.kernel.is_boost_off
        return bool(rights.turbo.value) and not is_boost_off

    def is_unused(self, record: GroupRecord) -> bool:
        """Return whether a clock group is one of those that `idle_cpus` is about."""
        pcpus, host = record.group.pcpus, self.config.host
        if host.idle_cpus is IdleCpus.LEAVE or not self.is_every_domain_known:
            return False
        if pcpus & host.pcpus:
            return False
        if any(self._users[pcpu] for pcpu in pcpus):
            return False
        return next(self.pinned_into(record.group.number), None) is None

    def forget(self, uuid: DomainId) -> tuple[DomainRecord, set[int]]:
        """Remove a domain.

        Returns:
            What was known of it, and the clock groups that it may have used without a
            vCPU that is pinned into them.
        """
        record = self.domains.pop(uuid)
        self._forget_name(record.spec.name, uuid)
        self._leave(record)
        return record, self._use_elsewhere(uuid, frozenset())

    def place_all(self, record: DomainRecord) -> set[int]:
        """Place every vCPU of a domain again.

        Returns:
            Clock groups that it uses without a vCPU that is pinned into them, if no
            other domain does, or that it no longer uses like that.
        """
        self._leave(record)
        record.placements = {v.vcpu: self.place(v) for v in record.spec.vcpus}
        record.threads = self._place_threads(record)
        uuid = record.spec.uuid
        if not record.spec.state.is_active:
            return self._use_elsewhere(uuid, frozenset())
        for group in record.used_groups():
            self._domains_in.setdefault(group, set()).add(uuid)
        if is_limited(record.rights(self.config)):
            self._limited.add(uuid)
        if self.config.host.idle_cpus is IdleCpus.LEAVE:
            return self._use_elsewhere(uuid, frozenset())
        floating = (it.pcpus for it in record.placements.values() if not it.groups)
        threads = (thread.pinning for thread in record.spec.threads)
        return self._use_elsewhere(uuid, frozenset().union(*floating, *threads))

    def _use_elsewhere(self, uuid: DomainId, pcpus: frozenset[PCpu]) -> set[int]:
        before = self._elsewhere.pop(uuid, frozenset())
        if pcpus:
            self._elsewhere[uuid] = pcpus
        self._users.update(pcpus - before)
        self._users.subtract(before - pcpus)
        switched = {p for p in pcpus - before if self._users[p] == 1}
        switched |= {p for p in before - pcpus if not self._users[p]}
        if not switched:
            return set()
        return {n for n, it in self.groups.items() if it.group.pcpus & switched}

    def _leave(self, record: DomainRecord) -> None:
        uuid = record.spec.uuid
        self._limited.discard(uuid)
        for group in record.used_groups():
            if members := self._domains_in.get(group):
                members.discard(uuid)

    def place(self, spec: VCpuSpec) -> Placement:
        """Return the clock group that a vCPU is pinned into, or why there is none."""
        groups, found = self._assign(spec.pinning)
        return Placement(
            vcpu=spec.vcpu,
            pcpus=spec.pinning & self.topology.online,
            group=groups[0] if groups else None,
            siblings=tuple(groups[1:]),
            refusal=found.refusal,
            reason=found.reason or None,
        )

    def _place_threads(self, record: DomainRecord) -> tuple[FollowingThread, ...]:
        rights = record.rights(self.config)
        if rights["emulator"].value is not ThreadFrequency.FOLLOW:
            return ()
        if not rights.is_enforced or not record.spec.state.is_active:
            return ()
        placed = ((it, *self._assign(it.pinning)) for it in record.spec.threads)
        return tuple(
            FollowingThread(
                name=thread.name,
                pcpus=thread.pinning & self.topology.online,
                groups=tuple(groups),
                reason=found.reason or None,
            )
            for thread, groups, found in placed
        )

    def _assign(self, pinning: frozenset[PCpu]) -> tuple[list[int], Assignment]:
        """Find the clock groups of a pinning; none: the assignment has the reason."""
        found = self.topology.assign(pinning)
        for group in filter(None, (found.group, *found.siblings)):
            record = self.groups.get(group.number)
            if record and record.stage is GroupStage.FAILED:
                found = Assignment(refusal=Refusal.UNMANAGED, reason=record.reason)
                break
        groups = [it.number for it in (found.group, *found.siblings) if it]
        return groups or self._held_offline(pinning), found

    def _held_offline(self, pinning: frozenset[PCpu]) -> list[int]:
        """Return the held clock groups of CPUs that are in none now; votes live on.

        The CPUs are offline, or not completely online yet.
        """
        if any(self.topology.group_of(pcpu) for pcpu in pinning):
            return []
        held = [
            record.group
            for record in self.groups.values()
            if record.stage in HELD and record.group.pcpus & pinning
        ]
        is_complete = pinning <= {pcpu for group in held for pcpu in group.pcpus}
        return sorted(group.number for group in held) if is_complete else []
