# SPDX-License-Identifier: Apache-2.0
"""What happened: the controller's input. Past tense, values only.

Synchronization: none required, everything here is immutable.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from orchestrator.config import Config
    from orchestrator.policy.kinds.contract import PolicyKind
    from orchestrator.policy.subject import PolicyEffect, Source
    from orchestrator.power.attribute_state import AttributeState
    from orchestrator.power.kernel_limits import KernelLimits
    from orchestrator.power.topology import Topology
    from orchestrator.saved.state import SavedState
    from orchestrator.values.domain import DomainId, DomainSpec, PCpu
    from orchestrator.values.refusal import Refusal


@dataclass(frozen=True, slots=True)
class LibvirtConnected:
    """libvirt is connected, and callbacks for all its events are registered."""


@dataclass(frozen=True, slots=True)
class LibvirtLost:
    """The connection ended; the last known state of domains stays."""

    reason: str
    at: str
    """ISO 8601, UTC: since when the inventory is stale."""


@dataclass(frozen=True, slots=True)
class LibvirtAwaited:
    """libvirt cannot be reached; posted once per reason, attempts continue."""

    reason: str


@dataclass(frozen=True, slots=True)
class ResyncDue:
    """Time to compare everything: some changes have no event."""


@dataclass(frozen=True, slots=True)
class TopologyRead:
    """The current state of the CPU tree."""

    topology: Topology


@dataclass(frozen=True, slots=True)
class KernelLimitsRead:
    """The kernel's limits of clock groups have changed, or could not be held."""

    limits: Mapping[int, KernelLimits]
    """By clock group; only those that have changed."""


@dataclass(frozen=True, slots=True)
class AttributesRead:
    """Held attributes of the kernel have changed, or what became of them."""

    states: Mapping[str, AttributeState]
    """By path, or by the pattern of a kind; only those that have changed."""


@dataclass(frozen=True, slots=True)
class MetersDoubted:
    """The energy meters count something else than before: impossible, or right."""

    problem: str
    """What is wrong with them; empty: nothing any more."""


@dataclass(frozen=True, slots=True)
class StateLoaded:
    """The state file was read, after the CPU tree and before libvirt is connected."""

    state: SavedState


@dataclass(frozen=True, slots=True)
class ConfigReloaded:
    """The operator changed the configuration."""

    config: Config


@dataclass(frozen=True, slots=True)
class DomainsListed:
    """All domains that libvirt has, running or not."""

    uuids: tuple[DomainId, ...]


@dataclass(frozen=True, slots=True)
class DomainChanged:
    """A domain changed; it must be described again.

    An event from libvirt is not the new state itself: events arrive in an unexpected
    order, and the next change may have happened before one arrives.
    """

    uuid: DomainId
    what: str = ""
    """For the log: `started`, `device channel1 added`."""


@dataclass(frozen=True, slots=True)
class DomainDescribed:
    """The current description of a domain by libvirt."""

    spec: DomainSpec
    asked_ns: int
    """When the description was requested (monotonic)."""


@dataclass(frozen=True, slots=True)
class DomainVanished:
    """The domain is no longer known to libvirt."""

    uuid: DomainId


@dataclass(frozen=True, slots=True)
class DomainUndescribed:
    """libvirt could not describe a domain; its last known state stays."""

    uuid: DomainId
    reason: str


@dataclass(frozen=True, slots=True)
class DomainRebooted:
    """The guest was reset: its requests end. Posted two or three times per reset."""

    uuid: DomainId


@dataclass(frozen=True, slots=True)
class GuestPortChanged:
    """The guest opened or closed its port; only over a read-write connection.

    QEMU reports it at most once a second, and then the latest state: changes between
    two reports are never reported.
    """

    uuid: DomainId
    alias: str
    is_open: bool
    at_ns: int
    """When it happened (monotonic), up to a second before it was reported."""


@dataclass(frozen=True, slots=True)
class PortCloseUnconfirmed:
    """A port was reported as closed, but its channel received data.

    The channel has now been silent for so long that the port's state must be current.
    """

    uuid: DomainId
    number: int


@dataclass(frozen=True, slots=True)
class RemovalFailed:
    """The guest did not release a device that was to be removed."""

    uuid: DomainId
    alias: str


@dataclass(frozen=True, slots=True)
class ChannelsAttached:
    """Channels were attached to a domain."""

    uuid: DomainId
    live: tuple[int, ...]
    config: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class PStatesMade:
    """A domain's definition has the P-states that it should have, or cannot."""

    uuid: DomainId
    is_changed: bool = False
    """Whether they were added or changed."""
    vcpus: tuple[int, ...] = ()
    """vCPUs that have P-states."""
    failure: str = ""
    """Why it has none; empty: it has."""
    is_final: bool = True
    """False: libvirt was unreachable, and it may succeed later."""


@dataclass(frozen=True, slots=True)
class PortsAdded:
    """A running domain got ports for further channels, or cannot get them."""

    uuid: DomainId
    obstacle: str = ""
    """Why it cannot take another virtio-serial controller; empty: it got them."""


@dataclass(frozen=True, slots=True)
class ChannelsDetached:
    """Channels that a rule attached to a domain were detached."""

    uuid: DomainId
    live: tuple[int, ...]
    config: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class OnboardingFailed:
    """Attaching failed and was rolled back, or detaching failed half-way."""

    uuid: DomainId
    reason: str
    is_final: bool = True
    """False: libvirt was unreachable, and it may succeed later."""


@dataclass(frozen=True, slots=True)
class ChannelConnected:
    """A channel's socket is connected and was passed to the monitor."""

    uuid: DomainId
    number: int
    path: str


@dataclass(frozen=True, slots=True)
class ChannelAbsent:
    """There is no listener at a channel's path."""

    uuid: DomainId
    number: int
    path: str
    reason: str


@dataclass(frozen=True, slots=True)
class ChannelContended:
    """Another program is connected to a channel."""

    uuid: DomainId
    number: int
    path: str
    reason: str


@dataclass(frozen=True, slots=True)
class ChannelRefused:
    """A channel cannot be connected until a permission or path is changed."""

    uuid: DomainId
    number: int
    path: str
    reason: str


@dataclass(frozen=True, slots=True)
class ChannelAbused:
    """A channel's guest exceeded its budget for long, or sent much garbage."""

    uuid: DomainId
    number: int
    is_garbage: bool


@dataclass(frozen=True, slots=True)
class EndpointClosed:
    """The other side of a channel hung up."""

    uuid: DomainId
    number: int
    reason: str


@dataclass(frozen=True, slots=True)
class PolicySent:
    """A guest sent a policy, and waits up to 8 ms for the answer."""

    uuid: DomainId
    number: int
    ticket: int
    """Identifies the policy in the answer."""
    generation: int
    """Size of this guest's packets in bytes."""
    packet: bytes


@dataclass(frozen=True, slots=True)
class PolicyRemoved:
    """A guest removed its policy; there is no answer."""

    uuid: DomainId
    number: int


@dataclass(frozen=True, slots=True)
class ChannelSwitched:
    """The operator enabled or disabled a channel."""

    uuid: DomainId
    number: int
    is_enabled: bool
    by: str = "the operator"
    """User and process, as reported by the kernel."""


@dataclass(frozen=True, slots=True)
class PolicyInstalled:
    """A policy is in force."""

    uuid: DomainId
    source: Source
    kind: PolicyKind
    ticket: int | None = None
    """Identifies the guest's packet; None: no guest waits for an answer."""
    is_news: bool = True
    """False: it was already in force."""
    is_resumed: bool = False
    """Whether it was in force before the daemon was restarted."""
    by: str = ""
    """User and process, as reported by the kernel; empty: not set over the API."""


@dataclass(frozen=True, slots=True)
class PolicyRefused:
    """A policy cannot be installed."""

    uuid: DomainId
    source: Source
    reason: str
    ticket: int | None = None
    """Identifies the guest's packet; None: no guest waits for an answer."""


@dataclass(frozen=True, slots=True)
class PolicyEnded:
    """A policy ended."""

    uuid: DomainId
    source: Source
    cause: str
    """For people: `removed by root (uid 0, pid 7)`, `the guest rebooted`."""


@dataclass(frozen=True, slots=True)
class PoliciesChanged:
    """What a domain's policies apply to changed."""

    uuid: DomainId
    effect: PolicyEffect


@dataclass(frozen=True, slots=True)
class GroupPrepared:
    """A clock group's originals are in the journal, its descriptors open."""

    group: int


@dataclass(frozen=True, slots=True)
class TakeWanted:
    """The monitor has a vote for a group that is not taken."""

    group: int


@dataclass(frozen=True, slots=True)
class GroupRenewed:
    """A group that was to be taken has new originals, already in the journal."""

    group: int
    governor: str
    """The current one."""


@dataclass(frozen=True, slots=True)
class GroupTaken:
    """The group's governor was switched."""

    group: int


@dataclass(frozen=True, slots=True)
class GroupFailed:
    """The kernel refused to prepare or to take a group."""

    group: int
    reason: str


@dataclass(frozen=True, slots=True)
class GroupYielded:
    """A group has had no votes for long; the monitor no longer writes its frequency."""

    group: int


@dataclass(frozen=True, slots=True)
class GroupRestored:
    """The group has its original settings again."""

    group: int


@dataclass(frozen=True, slots=True)
class WriteRefused:
    """The kernel refused a frequency; posted once until a write succeeds."""

    group: int
    errno: int


@dataclass(frozen=True, slots=True)
class VerificationDue:
    """It is time to verify the taken groups."""


@dataclass(frozen=True, slots=True)
class CpusSwitched:
    """CPUs went offline or came back, possibly both."""

    pcpus: frozenset[PCpu] | None
    """None: any of them, as after the host's resume from suspend."""


@dataclass(frozen=True, slots=True)
class DriverReplaced:
    """The kernel has replaced the scaling driver of a held group, or its mode."""

    group: int


@dataclass(frozen=True, slots=True)
class GroupDrifted:
    """The settings of a taken group are not those that were made, in one reading."""

    group: int
    change: str
    """What was changed, as text."""
    writes: int
    """How many frequencies had been written; another number means another cause."""
    suspects: tuple[str, ...]
    """Running programs that are known to change such settings."""
    at_s: float
    """When it was read (monotonic)."""


@dataclass(frozen=True, slots=True)
class GroupRetaken:
    """The operator takes a group back from another program."""

    group: int
    by: str = "the operator"
    """User and process, as reported by the kernel."""


@dataclass(frozen=True, slots=True)
class RequestRefused:
    """The monitor refused a request; posted once for each reason."""

    uuid: DomainId
    number: int
    """Of the channel."""
    reason: Refusal
    vcpu: int
    """The vCPU in the request, or (PHYSICAL) the host CPU."""
    unit: int
    """The unit in the request, unchecked."""


@dataclass(frozen=True, slots=True)
class OverrideSet:
    """The operator set a group's frequency."""

    group: int
    khz: int
    by: str = "the operator"
    """User and process, as reported by the kernel."""


@dataclass(frozen=True, slots=True)
class OverrideReleased:
    """The operator released a group to its guests."""

    group: int
    by: str = "the operator"
    """User and process, as reported by the kernel."""


@dataclass(frozen=True, slots=True)
class MonitorStarted:
    """A monitor process is ready; nothing is defined in it yet."""


@dataclass(frozen=True, slots=True)
class MonitorDied:
    """The monitor process ended unexpectedly; frequencies and votes stay."""

    status: int
    """Exit status; negative: the number of the signal that ended it."""


Event = (
    LibvirtConnected
    | LibvirtLost
    | LibvirtAwaited
    | ResyncDue
    | TopologyRead
    | KernelLimitsRead
    | AttributesRead
    | MetersDoubted
    | StateLoaded
    | ConfigReloaded
    | DomainsListed
    | DomainChanged
    | DomainDescribed
    | DomainVanished
    | DomainUndescribed
    | DomainRebooted
    | GuestPortChanged
    | PortCloseUnconfirmed
    | RemovalFailed
    | ChannelsAttached
    | PortsAdded
    | PStatesMade
    | ChannelsDetached
    | OnboardingFailed
    | ChannelConnected
    | ChannelAbsent
    | ChannelContended
    | ChannelRefused
    | ChannelAbused
    | EndpointClosed
    | PolicySent
    | PolicyRemoved
    | ChannelSwitched
    | PolicyInstalled
    | PolicyRefused
    | PolicyEnded
    | PoliciesChanged
    | GroupPrepared
    | TakeWanted
    | GroupRenewed
    | GroupTaken
    | GroupFailed
    | GroupYielded
    | GroupRestored
    | VerificationDue
    | CpusSwitched
    | DriverReplaced
    | GroupDrifted
    | GroupRetaken
    | RequestRefused
    | WriteRefused
    | OverrideSet
    | OverrideReleased
    | MonitorStarted
    | MonitorDied
)
