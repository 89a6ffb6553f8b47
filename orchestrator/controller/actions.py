# SPDX-License-Identifier: Apache-2.0
"""Actions: the controller's output, as values.

Commands for the monitor are those of `monitor.link.commands`, as they are sent.

Synchronization: none required, everything here is immutable.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING

from orchestrator.monitor.link.commands import Decided

if TYPE_CHECKING:
    from collections.abc import Mapping

    from orchestrator.config import Config
    from orchestrator.limits import Limits
    from orchestrator.policy.subject import PolicyOrder, PolicySubject, Source
    from orchestrator.saved.state import SavedVote
    from orchestrator.values.domain import DomainId
    from orchestrator.values.event_kinds import EventKind


class Severity(StrEnum):
    """How a report is logged."""

    INFO = "info"
    """A state change."""
    WARNING = "warning"
    """Unexpected, and handled."""
    ERROR = "error"
    """An operator must act."""


@dataclass(frozen=True, slots=True)
class Report:
    """Write to the log and the event stream."""

    kind: EventKind
    text: str
    domain: str | None = None
    severity: Severity = Severity.INFO
    facts: Mapping[str, int | str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class ReadTopology:
    """Read the CPU tree."""

    is_thorough: bool = True
    """False: only if CPUs or policies came or went since the last time."""


@dataclass(frozen=True, slots=True)
class ReadKernelLimits:
    """Read the kernel's limits of clock groups, and hold them again if changed."""

    groups: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class ListDomains:
    """Ask libvirt for all domains."""


@dataclass(frozen=True, slots=True)
class DescribeDomain:
    """Ask libvirt for a domain's description."""

    uuid: DomainId


@dataclass(frozen=True, slots=True)
class AttachChannels:
    """Attach channels that a rule asks for; all or nothing."""

    uuid: DomainId
    live: tuple[int, ...]
    """Numbers for the running domain."""
    config: tuple[int, ...]
    """Numbers for its definition."""


@dataclass(frozen=True, slots=True)
class AddPorts:
    """Plug virtio-serial controllers into a running domain, so that channels fit."""

    uuid: DomainId
    channels: tuple[int, ...]
    """Numbers of the channels that it is to get."""


@dataclass(frozen=True, slots=True)
class MakePStates:
    """Give a domain's definition the P-states that it should have."""

    uuid: DomainId
    config: Config


@dataclass(frozen=True, slots=True)
class DetachChannels:
    """Detach channels that a rule attached."""

    uuid: DomainId
    live: tuple[int, ...]
    """Numbers, of the running domain."""
    config: tuple[int, ...]
    """Numbers, of its definition."""


@dataclass(frozen=True, slots=True)
class ConnectChannel:
    """Connect a channel's socket and hand it to the monitor."""

    uuid: DomainId
    number: int
    path: str
    delay_s: float


@dataclass(frozen=True, slots=True)
class EndPortSession:
    """End what a guest requested over a channel before its port changed.

    What was requested later is another program's, which has opened the port since.
    """

    uuid: DomainId
    number: int
    at_ns: int
    """When (monotonic) the port was closed or opened."""
    is_closed: bool
    """Whether it was closed: bytes that came later make the close doubtful."""


@dataclass(frozen=True, slots=True)
class UpdatePolicySubject:
    """Send the policy engine the description of a running domain and its policies.

    Policies of rules and metadata that are not among `orders` end.
    """

    subject: PolicySubject
    orders: Mapping[Source, PolicyOrder]
    """The policies of rules and metadata."""


@dataclass(frozen=True, slots=True)
class ForgetPolicySubject:
    """End all policies of a domain."""

    uuid: DomainId


@dataclass(frozen=True, slots=True)
class InstallPolicy:
    """Install a guest's policy, and notify the guest whether it is in force."""

    uuid: DomainId
    number: int
    """The channel over which it came."""
    ticket: int
    order: PolicyOrder


@dataclass(frozen=True, slots=True)
class EndGuestPolicies:
    """End the policies of a guest over one channel; over all if None."""

    uuid: DomainId
    number: int | None
    cause: str = field(compare=False)
    """Why, for people: `the guest rebooted`."""


@dataclass(frozen=True, slots=True)
class ResumeVotes:
    """Set votes of an earlier run of the daemon, before the domain is defined."""

    uuid: DomainId
    votes: tuple[SavedVote, ...]


@dataclass(frozen=True, slots=True)
class ResumePolicy:
    """Install a policy of an earlier run of the daemon."""

    uuid: DomainId
    source: Source
    order: PolicyOrder


@dataclass(frozen=True, slots=True)
class NoteGuestPolicies:
    """Note the present policies of a guest in its running domain."""

    uuid: DomainId


@dataclass(frozen=True, slots=True)
class SaveState:
    """Write what operators have decided to the state file."""


@dataclass(frozen=True, slots=True)
class PrepareGroup:
    """Journal a group's originals and open its descriptors; change nothing."""

    group: int


@dataclass(frozen=True, slots=True)
class TakeGroup:
    """Switch a group's governor."""

    group: int


@dataclass(frozen=True, slots=True)
class RestoreGroup:
    """Restore a group's original settings."""

    group: int


@dataclass(frozen=True, slots=True)
class UnpinGroup:
    """Restore the limits of a group that is left to another program, if they are ours.

    It has no outcome: they are restored again with the group.
    """

    group: int


@dataclass(frozen=True, slots=True)
class DropGroup:
    """Close a group's descriptors, after the monitor's, and forget its journal."""

    group: int


@dataclass(frozen=True, slots=True)
class VerifyGroups:
    """Find out whether another program changed taken groups."""

    groups: tuple[int, ...]
    delay_s: float = 0.0


@dataclass(frozen=True, slots=True)
class HoldLimits:
    """Keep a clock group within limits, also while it is not taken."""

    group: int
    limits: Limits
    """`NO_LIMITS`: restore the kernel's limits."""


@dataclass(frozen=True, slots=True)
class HoldAttributes:
    """Hold attributes of the kernel at other values; see `power.held_attributes`."""

    changes: Mapping[str, str | None]
    """By path or pattern; None: restore it."""


@dataclass(frozen=True, slots=True)
class RefreshAttributes:
    """Read the attributes that are held, and retry what the kernel refused."""


@dataclass(frozen=True, slots=True)
class StartMonitor:
    """Start a monitor process."""


Action = (
    Report
    | ReadTopology
    | ReadKernelLimits
    | ListDomains
    | DescribeDomain
    | AttachChannels
    | AddPorts
    | MakePStates
    | DetachChannels
    | ConnectChannel
    | EndPortSession
    | UpdatePolicySubject
    | ForgetPolicySubject
    | InstallPolicy
    | EndGuestPolicies
    | ResumeVotes
    | ResumePolicy
    | NoteGuestPolicies
    | SaveState
    | PrepareGroup
    | TakeGroup
    | RestoreGroup
    | UnpinGroup
    | DropGroup
    | VerifyGroups
    | HoldLimits
    | HoldAttributes
    | RefreshAttributes
    | StartMonitor
    | Decided
)
