# SPDX-License-Identifier: Apache-2.0
"""Policies, which request frequencies in place of a guest."""

from __future__ import annotations

from typing import Annotated

from pydantic import AwareDatetime, Field

from orchestrator.control.models.document import CpuNumber, Document, Khz
from orchestrator.policy.kinds.contract import PolicyKind
from orchestrator.policy.kinds.table import KINDS
from orchestrator.policy.schedule import ScheduledLevel
from orchestrator.policy.subject import SourceKind
from orchestrator.policy.text import LONGEST

__all__ = [
    "Policy",
    "PolicyAnswer",
    "PolicyChange",
    "PolicyList",
    "PolicyOfDomain",
    "PolicyRequest",
    "PolicyWant",
]


class PolicyWant(Document):
    """The frequency that a policy requests for one vCPU."""

    vcpu: CpuNumber
    """Number of the vCPU."""
    khz: Khz | None
    """Requested frequency in kHz; null: none at present, or the policy does not
    vote."""
    counts: bool = True
    """Whether the request takes part in the vote; false: a policy from a source of
    higher precedence applies to the vCPU."""


class PolicyChange(Document):
    """A change that the timetable of a policy makes."""

    at: AwareDatetime
    """When: ISO 8601, in the time zone of the policy, else of the host."""
    level: ScheduledLevel
    """What the policy requests from then on."""


class Policy(Document):
    """A policy that is in force for a domain."""

    source: SourceKind
    """Where the policy comes from."""
    name: str
    """Name that the operator or the rule gives it; empty for a guest's policy."""
    channel: int | None
    """Number of the channel over which the guest sent it; null for other sources."""
    kind: Annotated[PolicyKind, Field(json_schema_extra={"enum": [*KINDS]})]
    """Kind of the policy."""
    text: str
    """The policy as it would be entered: `utilisation up-above=0.9`."""
    wants: tuple[PolicyWant, ...]
    """Requested frequencies, for each vCPU that the policy covers and whose frequency
    can be set; of a policy that does not vote, for each vCPU that it covers."""
    idle_latency_us: int | None = None
    """Longest time in microseconds that an idle CPU of its vCPUs may take to wake up;
    null: the policy does not limit it."""
    epp: str | None = None
    """Energy preference for the clock groups of its vCPUs; null: none."""
    problem: str | None
    """Why the policy has no data to decide on, and so does not vote; null if it has."""
    next_change: PolicyChange | None = None
    """The next change by the time of day; null: the time changes nothing."""


class PolicyAnswer(Policy):
    """A policy that was set."""

    warnings: tuple[str, ...] = ()
    """What keeps it from taking effect now, or for some of its vCPUs."""


class PolicyOfDomain(Policy):
    """A policy and the domain that it applies to."""

    domain: str
    """Name of the domain."""
    uuid: str
    """UUID of the domain."""


class PolicyList(Document):
    """All policies in force."""

    policies: tuple[PolicyOfDomain, ...]
    """In the order of the domains' names."""


class PolicyRequest(Document):
    """The policy that a domain is to have until its removal, or the domain is off."""

    text: Annotated[str, Field(strict=True, min_length=1, max_length=LONGEST)]
    """One policy, as in `utilisation up-above=0.9 vcpus=0-3`."""
