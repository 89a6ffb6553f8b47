# SPDX-License-Identifier: Apache-2.0
"""The channels of domains."""

from __future__ import annotations

from typing import Annotated

from pydantic import AwareDatetime, Field

from orchestrator.channel.lifecycle import ChannelState
from orchestrator.control.models.document import Count, Document
from orchestrator.values.domain import ChannelKind

__all__ = ["Channel", "ChannelList", "DomainChannel", "EnabledRequest"]


class Channel(Document):
    """One channel of a domain: of a power agent, or of the guest's P-states.

    The totals start at zero when the daemon starts and when the domain is shut off;
    while the domain runs they only grow.
    """

    number: int
    """N of virtio.serial.port.poweragent.N; 2000 and up for P-states, in the order of
    their ports."""
    target: str
    """Name of the channel in the guest; for P-states the I/O port, as in 0x5c0."""
    path: str | None
    """Path of its socket on the host; null until libvirt has chosen one."""
    state: ChannelState
    """State of the connection."""
    requests_total: Count
    """Requests, policies and queries received; for P-states all bytes."""
    acks_total: Count
    """Of these, answered ACK."""
    nacks_total: Count
    """Of these, answered NACK."""
    dropped_total: Count
    """Answers not sent because the guest does not read."""
    late_total: Count
    """Answers not sent because the guest had stopped waiting."""
    errors_total: Count
    """Pieces of input that were not a valid packet."""
    enabled: bool = True
    """Whether the operator has the channel enabled."""
    unanswered_total: Count = 0
    """Requests that have no answer: from a guest too old to read answers, and all for
    P-states."""
    nack_reasons: dict[str, Count] = Field(default_factory=dict)
    """Number of refused requests, by reason: `physical`, `no-vcpu`, `floating`, ...;
    they are answered NACK unless they have no answer."""
    nack_causes: dict[str, str] = Field(default_factory=dict)
    """Explanation of a reason's most recent NACK, by reason; left out once the cause
    has ended, as when the channel is enabled again."""
    throttled_total: Count = 0
    """How often its guest was not read for a while, having exceeded the budget."""
    budget: int | None = None
    """Requests per second that its guest may send; null: unlimited."""
    nack_last: dict[str, AwareDatetime] = Field(default_factory=dict)
    """When a request was answered NACK for a reason the last time, by reason."""
    generation: int | None = None
    """Packet size of its guest in bytes: 464 for DPDK 18.11 and newer, 456 for 17.11,
    16 before, 460 for 32-bit guests; null until the guest has sent a packet."""
    generation_given: bool = False
    """Whether an operator set the generation; false if it was detected."""
    reason: str | None = None
    """Why it is not open; null while it is."""
    kind: ChannelKind = ChannelKind.AGENT
    """What it carries: `agent` for packets of a power agent in the guest, `p-states`
    for requests of the guest's own cpufreq driver."""
    last_request: AwareDatetime | None = None
    """When the guest sent its last request; null: it has sent none."""


class DomainChannel(Channel):
    """A channel and the domain that it belongs to."""

    domain: str
    """Name of the domain."""
    uuid: str
    """UUID of the domain."""


class ChannelList(Document):
    """All channels of all domains."""

    channels: tuple[DomainChannel, ...]
    """In the order of the domains' names, then of their numbers."""


class EnabledRequest(Document):
    """Whether a channel is to be enabled."""

    enabled: Annotated[bool, Field(strict=True)]
    """True: requests are served; false: the channel's votes are dropped and its
    requests are answered NACK."""
