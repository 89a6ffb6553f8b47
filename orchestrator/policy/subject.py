# SPDX-License-Identifier: Apache-2.0
"""A domain as its policies know it, and what is known of the policies; pure values."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any, NamedTuple

from orchestrator.values.cpu_attributes import ANY_ATTRIBUTES, strictest

if TYPE_CHECKING:
    from collections.abc import Mapping

    from orchestrator.limits import Window
    from orchestrator.policy.kinds.contract import Policy
    from orchestrator.policy.schedule import Outlook
    from orchestrator.values.cpu_attributes import CpuAttributes
    from orchestrator.values.domain import DomainId, InterfaceSpec


@dataclass(frozen=True, slots=True, kw_only=True)
class VCpuPlace:
    """A vCPU whose frequency can be set."""

    vcpu: int
    group: int
    """The clock group that it is pinned to."""
    pcpus: frozenset[int]
    """The host CPUs that it is pinned to."""
    window: Window
    """The steps of its group within the limits of the host, the kernel and the domain,
    the right to turbo included."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PolicySubject:
    """A running domain that policies can apply to."""

    uuid: DomainId
    is_executing: bool
    """False: it is paused; the votes of its policies are kept, nothing is sampled."""
    places: tuple[VCpuPlace, ...]
    """Its controllable vCPUs; floating ones are left out."""
    vcpus: frozenset[int] = frozenset()
    """All of its vCPUs."""
    interfaces: tuple[InterfaceSpec, ...] = ()
    may_install: bool = True
    """Whether its guest may send policies; if not, those that it sent end."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PolicyOrder:
    """A policy for certain vCPUs of a domain."""

    policy: Policy[Any, Any]
    vcpus: frozenset[int] | None = None
    """None: all of the domain, hot-plugged ones included."""
    macs: frozenset[str] | None = None
    """The interfaces whose traffic counts; None: all of the domain."""
    attributes: CpuAttributes = ANY_ATTRIBUTES
    """What it holds the CPUs of its vCPUs at besides its vote."""

    @property
    def held(self) -> CpuAttributes:
        """All that it holds them at."""
        return strictest((self.policy.attributes, self.attributes))


MAX_NAME_CHARS = 200
"""Of the name of a policy: libvirt's domains have shorter ones."""
NAME_FORM = f"1 to {MAX_NAME_CHARS} printable characters without '/'"
"""What a name of a policy looks like, for errors and documents."""


def is_name(text: str) -> bool:
    """Return whether a policy may have a name, which appears in paths and logs."""
    is_plain = text.isprintable() and "/" not in text and text == text.strip()
    return is_plain and 0 < len(text) <= MAX_NAME_CHARS and text not in (".", "..")


class SourceKind(StrEnum):
    """Where a policy comes from."""

    GUEST = "guest"
    """Sent by the guest; ends with the channel that it arrived on."""
    OPERATOR = "operator"
    """Set through the control API; ends when it is removed."""
    RULE = "rule"
    """A rule of the host's configuration; ends with the rule."""
    METADATA = "metadata"
    """The domain's own metadata; ends when it is removed from there."""


class Source(NamedTuple):
    """The source of a policy; a domain has one policy of each source."""

    kind: SourceKind
    name: str = ""
    """The name that the rule or the operator gave it."""
    channel: int | None = None
    """Number of the channel that a guest sent it on."""

    def __str__(self) -> str:
        """Write it as in logs: `rule dpdk-*[0]`, `guest channel 1`."""
        if self.channel is not None:
            return f"{self.kind} channel {self.channel}"
        return f"{self.kind} {self.name}".rstrip()


class PolicyEffect(NamedTuple):
    """What the policies of a domain apply to."""

    vcpus: frozenset[int]
    """The vCPUs that some of them may vote for."""
    attributes: Mapping[int, CpuAttributes]
    """What they hold, by vCPU; without those for which they hold nothing."""


class PolicyVote(NamedTuple):
    """The frequency that the policies of a vCPU request together."""

    uuid: DomainId
    vcpu: int
    khz: int | None
    """The highest that one of them wants; None: no vote."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PolicyStatus:
    """The state of an installed policy, for reports."""

    uuid: DomainId
    source: Source
    order: PolicyOrder
    wants_khz: dict[int, int | None]
    """By vCPU; those that the policy applies to and whose frequency can be set. If it
    does not vote: None for all that it applies to."""
    overridden: frozenset[int]
    """Those of them for which a policy of a source with higher precedence counts."""
    problem: str
    """Why it has no sample now; empty if it has."""
    outlook: Outlook
    """When it changes its level next, by the time."""
