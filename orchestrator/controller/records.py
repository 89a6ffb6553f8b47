# SPDX-License-Identifier: Apache-2.0
"""What is known of one domain, one channel, one clock group: parts of the inventory.

Synchronization: as `inventory`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

from orchestrator.channel.lifecycle import ChannelState
from orchestrator.controller.group_lifecycle import GroupStage, next_stage
from orchestrator.limits import NO_LIMITS, Limits
from orchestrator.power.kernel_limits import KernelLimits
from orchestrator.rights import resolve_rights
from orchestrator.values.domain import VCpu

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import TypeAlias

    from orchestrator.config import Config
    from orchestrator.controller.actions import Action, UpdatePolicySubject
    from orchestrator.controller.group_lifecycle import GroupEvent
    from orchestrator.events import GroupDrifted, RequestRefused
    from orchestrator.monitor.link.commands import DefineDomain, DefineGroup
    from orchestrator.policy.subject import Source
    from orchestrator.power.group import ClockGroup
    from orchestrator.rights import Rights
    from orchestrator.values.cpu_attributes import CpuAttributes
    from orchestrator.values.domain import (
        ChannelSpec,
        DomainId,
        DomainSpec,
        GuestPolicy,
        PCpu,
    )
    from orchestrator.values.refusal import Refusal

    ChannelKey: TypeAlias = tuple[DomainId, int]
    """A channel: its domain, and its number."""


CONNECTED_STATES = frozenset({ChannelState.OPEN, ChannelState.DISABLED})
"""States in which the monitor holds the channel's socket."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Placement:
    """Where a vCPU runs, and whether its frequency can be set there."""

    vcpu: VCpu
    pcpus: frozenset[PCpu]
    """Online CPUs that it may run on."""
    group: int | None
    """Number of the clock group that it is pinned into, also while its CPUs are
    offline, if the group was held before."""
    siblings: tuple[int, ...]
    """Clock groups of the other threads, if it is pinned to several of one core: its
    requests apply to all."""
    refusal: Refusal | None
    """Why its requests are refused; None: it is controllable."""
    reason: str | None
    """The same, as text."""

    @property
    def groups(self) -> tuple[int, ...]:
        """All clock groups that its requests apply to; empty: not controllable."""
        return () if self.group is None else (self.group, *self.siblings)


class FollowingThread(NamedTuple):
    """An emulator or I/O thread whose clock groups follow the domain's vCPUs."""

    name: str
    pcpus: frozenset[PCpu]
    """CPUs that it may run on."""
    groups: tuple[int, ...]
    """The clock groups, as of a vCPU with this pinning; empty: none follows."""
    reason: str | None
    """Why none does, as text."""


class ExplainedRefusal(NamedTuple):
    """A request that was refused, and why."""

    event: RequestRefused
    cause: str
    """For people."""


@dataclass(slots=True)
class ChannelRecord:
    """One channel of one domain."""

    spec: ChannelSpec
    state: ChannelState = ChannelState.ABSENT
    reason: str = ""
    """Why it is not open, as text."""
    attempts: int = 0
    """Connection attempts since it was last open."""
    sockets: tuple[str, ...] = ()
    """Its names in `Inventory.channels_at`, path and identity, which may be empty; none
    while its domain is off."""
    orphaned_s: float | None = None
    """How long its votes have waited for a new endpoint, after the monitor's death;
    None: it has an endpoint, or no votes."""
    quarantines: int = 0
    """How often it was quarantined lately; each time for longer."""
    calm_resyncs: int = 0
    """Resyncs since the last quarantine ended."""
    disabled_by: str | None = None
    """Who disabled it; None: it is enabled."""
    is_close_doubted: bool = False
    """Whether its port's state is to be read: a close was reported, and then bytes."""
    refusals: dict[Refusal, ExplainedRefusal] = field(default_factory=dict)
    """The latest of each reason since the domain was started."""

    @property
    def is_enabled(self) -> bool:
        """Whether no operator has disabled it."""
        return self.disabled_by is None


@dataclass(slots=True)
class OnboardingRecord:
    """Progress of a domain's onboarding during one run."""

    run: int | None = None
    """Run of the domain that this is about; another run starts a new record."""
    is_under_way: bool = False
    """Whether channels or ports are being attached, or channels detached."""
    attempts: int = 0
    """Recent attempts, successful ones included: another program may undo them."""
    pause: int = 0
    """Resyncs to wait before the next attempt."""
    idle_resyncs: int = 0
    """Resyncs since the last attempt that found nothing to do."""
    has_failed: bool = False
    """Whether the last attempt failed; the next one changes only the definition."""
    failure: str = ""
    """Why the last attempt failed, and what happens next."""
    port_obstacle: str = ""
    """Why the running domain cannot take another virtio-serial controller; empty: it
    was not tried, or succeeded."""
    waiting: str = ""
    """Channels that the domain gets only after it was powered off."""

    @property
    def problem(self) -> str:
        """Why the domain lacks channels; empty if it lacks none."""
        return self.failure or self.waiting


@dataclass(slots=True)
class PStateRecord:
    """Progress of giving a domain's definition P-states by a rule."""

    basis: tuple[object, ...] | None = None
    """What they were last made of, or failed with; None: nothing yet."""
    is_under_way: bool = False
    problem: str = ""
    """Why the definition has none, although a rule wants them; empty: it has."""


@dataclass(slots=True)
class DomainRecord:
    """One domain."""

    spec: DomainSpec
    channels: dict[int, ChannelRecord] = field(default_factory=dict)
    placements: dict[VCpu, Placement] = field(default_factory=dict)
    threads: tuple[FollowingThread, ...] = ()
    """Its emulator and I/O threads, if they are to follow its vCPUs."""
    sent: DefineDomain | None = None
    """Its definition as last sent to the monitor."""
    last_subject: UpdatePolicySubject | None = None
    """Its description as last sent to the policy engine."""
    attribute_wants: dict[str, str] = field(default_factory=dict)
    """What it wants attributes of the kernel to be held at; see `attributes`."""
    policed: frozenset[int] = frozenset()
    """The vCPUs that policies may vote for."""
    policy_attributes: Mapping[int, CpuAttributes] = field(default_factory=dict)
    """What policies hold the CPUs of its vCPUs at, by vCPU."""
    policy_refusals: dict[Source, str] = field(default_factory=dict)
    """Why policies were last refused: a repetition is not reported again."""
    is_reboot_reported: bool = False
    """Whether its reboot was reported, since when its guest has opened no port: libvirt
    reports one reset up to three times."""
    awaited_policies: tuple[GuestPolicy, ...] = ()
    """Policies of its guest from before it was saved or migrated, which are installed
    when the guest has its port open again."""
    onboarding: OnboardingRecord = field(default_factory=OnboardingRecord)
    p_states: PStateRecord = field(default_factory=PStateRecord)
    _resolved: tuple[Config, DomainSpec, Rights] | None = None
    """Its rights, and what they were resolved from."""

    def rights(self, config: Config) -> Rights:
        """Return its effective settings.

        They are kept until it is described again or the configuration is reloaded: a
        decision about a clock group needs those of every domain in it.
        """
        known = self._resolved
        if known is None or known[0] is not config or known[1] is not self.spec:
            rights = resolve_rights(config, self.spec)
            self._resolved = known = (config, self.spec, rights)
        return known[2]

    def groups(self) -> set[int]:
        """Clock groups that its vCPUs are pinned into."""
        return {group for p in self.placements.values() for group in p.groups}

    def following(self) -> set[int]:
        """Clock groups of its threads that follow its vCPUs."""
        return {group for thread in self.threads for group in thread.groups}

    def used_groups(self) -> set[int]:
        """Clock groups whose frequency may depend on its requests and policies."""
        return self.groups() | self.following()

    def is_enforced(self) -> bool:
        """Whether its requests change frequencies."""
        return self.sent is not None and self.sent.is_enforced

    def is_connected(self) -> bool:
        """Whether any of its channels is connected."""
        return any(c.state in CONNECTED_STATES for c in self.channels.values())

    def needs(self, group: int) -> bool:
        """Whether its requests or policies may set the frequency of a clock group."""
        return self.is_enforced() and (self.is_connected() or self.is_policed_in(group))

    def is_policed_in(self, group: int) -> bool:
        """Whether the votes of its policies count in a clock group."""
        found = (self.placements.get(VCpu(vcpu)) for vcpu in self.policed)
        places = [placement.groups for placement in found if placement is not None]
        if group in self.following():
            return any(places)
        return any(group in groups for groups in places)


@dataclass(slots=True)
class GroupRecord:
    """One clock group."""

    group: ClockGroup
    stage: GroupStage = GroupStage.IDLE
    reason: str = ""
    """Why the kernel refused it; empty if it has not."""
    refused_errno: str = ""
    """Name of the error with which the kernel refused the last write, as far as known;
    empty: it did not."""
    suspicion: GroupDrifted | None = None
    """A difference that was read once, and may have an innocent explanation."""
    drift: str = ""
    """What another program changed, if it has drifted."""
    retaken_at_s: list[float] = field(default_factory=list)
    """When it was lately taken back from another program (monotonic)."""
    last_user: DomainId | None = None
    """The domain that was last found to need it: the first one to check."""
    override_khz: int | None = None
    override_by: str = ""
    """Who set the override; empty without one."""
    sent: DefineGroup | None = None
    """Its definition as last sent to the monitor."""
    kernel: KernelLimits = field(init=False)
    """The kernel's limits as last read."""
    held: Limits = NO_LIMITS
    """The limits that it is to be kept within; see `kernel_limits`."""

    def __post_init__(self) -> None:
        """Begin with the limits that were read with the group."""
        self.kernel = KernelLimits(Limits(self.group.min_khz, self.group.max_khz))

    def move(self, event: GroupEvent) -> list[Action]:
        """Enter the next stage; return the commands of the transition."""
        self.stage, actions = next_stage(self.stage, event, self.group.number)
        return actions


@dataclass(slots=True)
class LibvirtRecord:
    """The libvirt connection."""

    is_connected: bool = False
    has_been_connected: bool = False
    reconnects_total: int = 0
    stale_since: str | None = None
    reason: str = ""


@dataclass(slots=True)
class Occurrences:
    """How often something happened since the daemon started."""

    takes: int = 0
    """A clock group was taken."""
    restores: int = 0
    """The original settings of a clock group were restored."""
    drifts: int = 0
    """Another program changed a taken clock group."""
    quarantines: int = 0
    """A channel was quarantined."""
