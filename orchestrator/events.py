"""What happened: the controller's input. Past tense, values only.

Synchronization: none required, everything here is immutable.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from orchestrator.config import Config
    from orchestrator.policy.kinds.contract import PolicyKind
    from orchestrator.policy.subject import Source
    from orchestrator.power.topology import Topology
    from orchestrator.values.domain import DomainId, DomainSpec
    from orchestrator.values.refusal import Refusal


@dataclass(frozen=True, slots=True)
class LibvirtConnected:
    """A connection stands and all its events are registered."""


@dataclass(frozen=True, slots=True)
class LibvirtLost:
    """The connection ended; what was known of domains stays."""

    reason: str
    at: str
    """ISO 8601, UTC: since when the inventory is stale."""


@dataclass(frozen=True, slots=True)
class LibvirtAwaited:
    """libvirt cannot be reached (yet); posted once per reason, attempts continue."""

    reason: str


@dataclass(frozen=True, slots=True)
class ResyncDue:
    """Time to compare everything: some changes have no event."""


@dataclass(frozen=True, slots=True)
class TopologyRead:
    """The CPU tree as it is now."""

    topology: Topology


@dataclass(frozen=True, slots=True)
class ConfigReloaded:
    """The operator changed the configuration."""

    config: Config


@dataclass(frozen=True, slots=True)
class DomainsListed:
    """All domains that libvirt knows, running or not."""

    uuids: tuple[DomainId, ...]


@dataclass(frozen=True, slots=True)
class DomainChanged:
    """Something about this domain changed; it must be described again.

    An event of libvirt's is never the truth itself: their order differs from what one
    expects, and by the time one arrives the next may have happened.
    """

    uuid: DomainId
    what: str = ""
    """A word or two for the log: `started`, `device channel1 added`."""


@dataclass(frozen=True, slots=True)
class DomainDescribed:
    """A domain as libvirt describes it now."""

    spec: DomainSpec
    asked_ns: int
    """When (monotonic) libvirt was asked for it."""


@dataclass(frozen=True, slots=True)
class DomainVanished:
    """libvirt no longer knows this domain."""

    uuid: DomainId


@dataclass(frozen=True, slots=True)
class DomainUndescribed:
    """libvirt could not describe a domain; what was known of it stays."""

    uuid: DomainId
    reason: str


@dataclass(frozen=True, slots=True)
class DomainRebooted:
    """The guest was reset: its requests are void. Posted two or three times a reset."""

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
    """When it did (monotonic); that can be told up to a second later."""


@dataclass(frozen=True, slots=True)
class PortCloseUnconfirmed:
    """A port was closed, or so it was said, but its channel brought something.

    It has been silent for long enough by now that its state tells the truth.
    """

    uuid: DomainId
    number: int


@dataclass(frozen=True, slots=True)
class RemovalFailed:
    """The guest did not let go of a device that was to be removed."""

    uuid: DomainId
    alias: str


@dataclass(frozen=True, slots=True)
class ChannelsAttached:
    """A domain was given channels."""

    uuid: DomainId
    live: tuple[int, ...]
    config: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class ChannelsDetached:
    """Channels that a rule gave a domain were taken away."""

    uuid: DomainId
    live: tuple[int, ...]
    config: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class OnboardingFailed:
    """Attaching failed and was rolled back, or detaching failed half-way."""

    uuid: DomainId
    reason: str
    is_final: bool = True
    """False: libvirt was not there, and may do it when it is."""


@dataclass(frozen=True, slots=True)
class ChannelConnected:
    """A channel's socket is connected and in the monitor's hands."""

    uuid: DomainId
    number: int
    path: str


@dataclass(frozen=True, slots=True)
class ChannelAbsent:
    """Nobody listens at a channel's path."""

    uuid: DomainId
    number: int
    path: str
    reason: str


@dataclass(frozen=True, slots=True)
class ChannelContended:
    """Another program holds a channel."""

    uuid: DomainId
    number: int
    path: str
    reason: str


@dataclass(frozen=True, slots=True)
class ChannelRefused:
    """A channel cannot be connected until somebody changes something."""

    uuid: DomainId
    number: int
    path: str
    reason: str


@dataclass(frozen=True, slots=True)
class EndpointClosed:
    """The other side of a channel hung up."""

    uuid: DomainId
    number: int
    reason: str


@dataclass(frozen=True, slots=True)
class PolicySent:
    """A guest sent a policy, and waits for an answer; 8 ms from now it does not."""

    uuid: DomainId
    number: int
    ticket: int
    """Names the policy in the answer."""
    generation: int
    """Bytes of a packet of this guest."""
    packet: bytes


@dataclass(frozen=True, slots=True)
class PolicyRemoved:
    """A guest wants its policy no more, and no answer."""

    uuid: DomainId
    number: int


@dataclass(frozen=True, slots=True)
class ChannelSwitched:
    """The operator enabled or disabled a channel."""

    uuid: DomainId
    number: int
    is_enabled: bool
    by: str = "the operator"
    """Who did it, as the kernel vouches."""


@dataclass(frozen=True, slots=True)
class PolicyInstalled:
    """A policy is in force."""

    uuid: DomainId
    source: Source
    kind: PolicyKind
    ticket: int | None = None
    """What the guest's packet is named by; None: no guest waits for an answer."""
    is_news: bool = True
    """False: it was in force already."""
    by: str = ""
    """Who installed it, as the kernel vouches; empty: nobody at the API."""


@dataclass(frozen=True, slots=True)
class PolicyRefused:
    """A policy cannot be had, and is not in force."""

    uuid: DomainId
    source: Source
    reason: str
    ticket: int | None = None
    """What the guest's packet is named by; None: no guest waits for an answer."""


@dataclass(frozen=True, slots=True)
class PolicyEnded:
    """Somebody at the API removed a policy."""

    uuid: DomainId
    source: Source
    by: str
    """Who did it, as the kernel vouches."""


@dataclass(frozen=True, slots=True)
class PoliciesChanged:
    """Policies are about other vCPUs of a domain than before."""

    uuid: DomainId
    vcpus: frozenset[int]


@dataclass(frozen=True, slots=True)
class GroupPrepared:
    """A clock group's originals are journalled, its descriptors open."""

    group: int


@dataclass(frozen=True, slots=True)
class TakeWanted:
    """The monitor holds a vote for a group that is not taken."""

    group: int


@dataclass(frozen=True, slots=True)
class GroupRenewed:
    """A group that was to be taken has got other originals, journalled already."""

    group: int
    governor: str
    """In force now."""


@dataclass(frozen=True, slots=True)
class GroupTaken:
    """The group's governor is ours."""

    group: int


@dataclass(frozen=True, slots=True)
class GroupFailed:
    """The kernel refused to prepare or to take a group."""

    group: int
    reason: str


@dataclass(frozen=True, slots=True)
class GroupYielded:
    """The monitor has written no clock of this group for long enough, and stopped."""

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
class RequestRefused:
    """The monitor refused a guest something; told once for each reason."""

    uuid: DomainId
    number: int
    """Of the channel."""
    reason: Refusal
    vcpu: int
    """That the request named, of the domain or (PHYSICAL) of the host."""
    unit: int
    """Of the request, as it came."""


@dataclass(frozen=True, slots=True)
class OverrideSet:
    """The operator fixed a group's clock."""

    group: int
    khz: int
    by: str = "the operator"
    """Who did it, as the kernel vouches."""


@dataclass(frozen=True, slots=True)
class OverrideReleased:
    """The operator gave a group's clock back to its guests."""

    group: int
    by: str = "the operator"
    """Who did it, as the kernel vouches."""


@dataclass(frozen=True, slots=True)
class MonitorStarted:
    """A monitor process is ready and knows nothing yet."""


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
    | ChannelsDetached
    | OnboardingFailed
    | ChannelConnected
    | ChannelAbsent
    | ChannelContended
    | ChannelRefused
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
    | RequestRefused
    | WriteRefused
    | OverrideSet
    | OverrideReleased
    | MonitorStarted
    | MonitorDied
)
