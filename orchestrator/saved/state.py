# SPDX-License-Identifier: Apache-2.0
"""The decisions that outlive a restart of the daemon, as values.

Of operators: overrides of clock groups, disabled channels, policies. Of guests: votes
and policies. Policies and votes are valid for the run of their domain only.

Synchronization: none required, everything here is immutable.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Literal

from pydantic import BaseModel, ConfigDict, Field

from orchestrator.errors import ConfigError
from orchestrator.policy.compile import order_of
from orchestrator.policy.subject import Source, SourceKind
from orchestrator.policy.text import describe, parse_policies
from orchestrator.values.cpuset import parse_cpulist
from orchestrator.values.domain import DomainId

if TYPE_CHECKING:
    from orchestrator.policy.subject import PolicyOrder
    from orchestrator.values.domain import DomainSpec


class Saved(BaseModel):
    """Base of everything in the state file: immutable; unknown keys are rejected."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class SavedOverride(Saved):
    """An operator's override of a clock group."""

    group: int
    khz: int = Field(gt=0)
    by: str
    """Who set it."""


class SavedVote(Saved):
    """The vote of a guest for one of its vCPUs."""

    vcpu: int = Field(ge=0)
    group: int
    """The clock group that the vCPU was in; a vote ends when it leaves the group."""
    khz: int = Field(gt=0)
    channel: int = Field(ge=0)
    """Number of the channel that voted last."""
    has_turbo_right: bool = True
    """The guest's turbo switch."""
    is_connect_vote: bool = False
    """Whether the vote only comes from CONNECT."""


class SavedPolicy(Saved):
    """A policy that an operator or a guest has set."""

    kind: Literal[SourceKind.OPERATOR, SourceKind.GUEST]
    name: str = ""
    """The name that an operator gave it."""
    channel: int | None = None
    """Number of the channel that a guest sent it on."""
    text: str
    """The policy in one line, without its interfaces."""
    macs: tuple[str, ...] | None = None
    """The interfaces whose traffic counts; None: all of the domain."""

    @property
    def source(self) -> Source:
        """Where it comes from."""
        return Source(self.kind, self.name, self.channel)

    @property
    def is_of_guest(self) -> bool:
        """Whether the domain's guest has sent it."""
        return self.kind is SourceKind.GUEST

    def order(self, uuid: DomainId) -> PolicyOrder:
        """Return the policy of a domain.

        Raises:
            ConfigError: the text is not one policy that this version knows.
        """
        rules = parse_policies(self.text, match=uuid)
        if len(rules) != 1:
            raise ConfigError(f"expected one policy, not {len(rules)}")
        (rule,) = rules
        vcpus = None if rule.vcpus is None else parse_cpulist(rule.vcpus)
        macs = None if self.macs is None else frozenset(self.macs)
        return replace(order_of(rule, vcpus), macs=macs)


def save_policy(source: Source, order: PolicyOrder) -> SavedPolicy:
    """Return a policy as it is saved.

    Raises:
        ValueError: it is a policy of the configuration or of metadata.
    """
    macs = None if order.macs is None else tuple(sorted(order.macs))
    text = describe(replace(order, macs=None))
    if source.kind is SourceKind.GUEST:
        return SavedPolicy(
            kind=SourceKind.GUEST, channel=source.channel, text=text, macs=macs
        )
    if source.kind is SourceKind.OPERATOR:
        return SavedPolicy(
            kind=SourceKind.OPERATOR, name=source.name, text=text, macs=macs
        )
    raise ValueError(f"a policy of {source} is not saved")


class SavedDomain(Saved):
    """The decisions about one domain."""

    name: str
    run: int = -1
    """libvirt's ID of the run; -1: the domain was off."""
    sockets: dict[int, str] = Field(default_factory=dict)
    """The socket of each channel in that run, see `ChannelSpec.socket`: libvirt uses
    IDs again."""
    disabled: dict[int, str] = Field(default_factory=dict)
    """Numbers of the disabled channels, and who disabled them. They stay disabled when
    the domain is started again."""
    policies: tuple[SavedPolicy, ...] = ()
    votes: tuple[SavedVote, ...] = ()

    @property
    def is_empty(self) -> bool:
        """Whether nothing was decided about the domain."""
        return not (self.disabled or self.policies or self.votes)

    def is_run_of(self, spec: DomainSpec) -> bool:
        """Whether a domain is still in the run that policies and votes are of."""
        if not spec.state.is_active or spec.run != self.run:
            return False
        found = {channel.number: channel.socket for channel in spec.channels}
        shared = self.sockets.keys() & found.keys()
        return all(self.sockets[number] == found[number] for number in shared)

    def without_guest(self) -> SavedDomain:
        """Return it without what its guest has set."""
        policies = tuple(each for each in self.policies if not each.is_of_guest)
        return self.model_copy(update={"policies": policies, "votes": ()})


class SavedState(Saved):
    """Everything that was decided and is still in force."""

    overrides: tuple[SavedOverride, ...] = ()
    domains: dict[DomainId, SavedDomain] = Field(default_factory=dict)

    def without_guests(self) -> SavedState:
        """Return it without what guests have set."""
        operators = {
            uuid: domain.without_guest() for uuid, domain in self.domains.items()
        }
        kept = {u: domain for u, domain in operators.items() if not domain.is_empty}
        return self.model_copy(update={"domains": kept})
