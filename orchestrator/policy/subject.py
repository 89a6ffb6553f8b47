"""A domain as its policies know it, and what is said about it, as values; pure."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from orchestrator.policy.kinds.contract import Policy
    from orchestrator.values.domain import DomainId, InterfaceSpec


@dataclass(frozen=True, slots=True, kw_only=True)
class VCpuPlace:
    """A vCPU whose clock can be set."""

    vcpu: int
    group: int
    """The clock group that it is pinned into."""
    pcpus: frozenset[int]
    """The host CPUs that it is pinned to."""
    steps_khz: tuple[int, ...]
    """The steps that its domain's bounds and turbo right leave of its group's,
    descending, at least one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Tenant:
    """A running domain."""

    uuid: DomainId
    is_executing: bool
    """False: it is paused; its policies' votes are kept and nothing is looked at."""
    places: tuple[VCpuPlace, ...]
    """Its controllable vCPUs; floating ones are left out."""
    interfaces: tuple[InterfaceSpec, ...] = ()
    may_install: bool = True
    """Whether its guest may have policies of its own; those that it has end if not."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PolicyOrder:
    """A policy for certain vCPUs of a domain."""

    policy: Policy[Any]
    vcpus: frozenset[int] | None = None
    """None: all that it has, and will have."""
    macs: frozenset[str] | None = None
    """The interfaces whose traffic counts; None: all that it has."""


class SourceKind(StrEnum):
    """Whose word a policy is."""

    GUEST = "guest"
    """The guest's own; ends with the channel over which it came."""
    OPERATOR = "operator"
    """Somebody's at the control API; ends when it is removed."""
    RULE = "rule"
    """The host's configuration; ends when no rule says so any more."""
    METADATA = "metadata"
    """The domain's own metadata; ends when it does not say so any more."""


class Source(NamedTuple):
    """Who installed a policy; a domain has one policy of each source."""

    kind: SourceKind
    name: str = ""
    """The rule's or the operator's word for it."""
    channel: int | None = None
    """Number of the channel over which a guest sent it."""

    def __str__(self) -> str:
        """Name it for people: `rule dpdk-*[0]`, `guest channel 1`."""
        if self.channel is not None:
            return f"{self.kind} channel {self.channel}"
        return f"{self.kind} {self.name}".rstrip()


class PolicyVote(NamedTuple):
    """What the policies of a vCPU want of its clock, all together."""

    uuid: DomainId
    vcpu: int
    khz: int | None
    """The highest that any of them wants; None: none wants anything."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PolicyStatus:
    """A policy that is installed, for people."""

    uuid: DomainId
    source: Source
    order: PolicyOrder
    wants_khz: dict[int, int | None]
    """By vCPU; those that the policy is about and whose clock can be set."""
    outranked: frozenset[int]
    """Those of them about which somebody's word counts who stands above its source."""
    problem: str
    """Why it sees nothing now; empty if it does."""
